"""Pictures of molecules: a grid of ball-and-stick drawings, seen along the direction in which each is flattest."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ead_core.chemistry.bonds import is_stable
from ead_core.chemistry.identity import identify, kekulised
from ead_core.chemistry.molecule import Molecule
from ead_core.data.store import MoleculeSet
from ead_core.errors import OutputError
from ead_core.pictures.figures import new_figure, write_figure
from ead_core.pictures.looks import ball_radius, colour_of

PANEL_INCHES = 1.9
PICTURES = (".png", ".svg", ".pdf")
HALO, HALO_COLOUR = 0.22, "#ffc84a"  # Å around a marked atom


def check_picture(path: Path) -> None:
    """OutputError unless the name ends in a picture format."""
    if path.suffix not in PICTURES:
        raise OutputError(f"cannot write {path}: the name must end in one of {', '.join(PICTURES)}.")


def draw_molecules(molecules: MoleculeSet, path: Path | str, columns: int = 6) -> None:
    """Write a picture (format by extension) of all molecules, each with its id and formula, and whether it is stable.

    Bonds are perceived ones, or those of the published distance table where perception fails; stability is EDM's.

    Args:
        molecules: the first ones fill the first row.
        path: `.png`, `.svg` or `.pdf`.
        columns: panels per row.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(columns, len(molecules))
    rows = -(-len(molecules) // columns)
    layout = ConstrainedLayoutEngine(w_pad=0, h_pad=0.03, wspace=0, hspace=0)
    figure = new_figure(columns * PANEL_INCHES, rows * PANEL_INCHES, layout)
    stable = [is_stable(molecule.charges, molecule.positions) for molecule in molecules]
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in axes:
        panel.set_axis_off()
        panel.set_aspect("equal")
    for index, panel in enumerate(axes[: len(molecules)]):
        molecule = molecules[index]
        draw_molecule(panel, molecule)
        title = f"{molecule.known.get('id', index)} · {molecule.formula}\n{'stable' if stable[index] else 'unstable'}"
        panel.set_title(title, fontsize=8, color="0.2" if stable[index] else "#b00020")
    write_figure(figure, path, dpi=110)


def mdl_block(molecule: Molecule) -> str:
    """An MDL block with the bonds of `identify`, for pages that draw in 3D."""
    return str(Chem.MolToMolBlock(identify(molecule).mol, kekulize=False))


def draw_molecule(
    panel: Any, molecule: Molecule, like: Molecule | None = None, marked: NDArray[np.bool_] | None = None
) -> None:
    """One molecule in a panel of matplotlib, far atoms first, so that near ones cover them.

    Args:
        panel: axes of equal aspect.
        molecule: what is drawn.
        like: whose flattest view is taken, in whose frame the molecule is; None is the molecule itself.
        marked: [N] atoms with a halo.
    """
    from matplotlib.patches import Circle

    like = like or molecule
    charges, flat = molecule.charges, _flattest_view(molecule.positions, like.positions)
    for bond in kekulised(identify(molecule).mol).GetBonds():
        order = round(bond.GetBondTypeAsDouble())
        _draw_bond(panel, flat[bond.GetBeginAtomIdx()], flat[bond.GetEndAtomIdx()], order)
    radii = [ball_radius(number) for number in charges]
    for atom in np.argsort(flat[:, 2]):
        place, look = (flat[atom, 0], flat[atom, 1]), {"facecolor": colour_of(charges[atom]), "edgecolor": "k"}
        panel.add_patch(Circle(place, radii[atom], linewidth=0.6, zorder=10 + 2 * flat[atom, 2], **look))
        if marked is not None and marked[atom]:
            panel.add_patch(Circle(place, radii[atom] + HALO, color=HALO_COLOUR, zorder=0))
    seen = np.concatenate([flat, _flattest_view(like.positions, like.positions)])
    reach = np.abs(seen[:, :2]).max() + max(radii) + (0.1 if marked is None else HALO + 0.1)
    panel.set_xlim(-reach, reach)
    panel.set_ylim(-reach, reach)


def _draw_bond(panel: Any, start: NDArray[np.float32], stop: NDArray[np.float32], order: int) -> None:
    """`order` parallel lines, drawn below the nearer of its atoms."""
    direction = (stop - start)[:2]
    normal = np.array([-direction[1], direction[0]]) / max(float(np.hypot(*direction)), 1e-6)
    depth = 10 + start[2] + stop[2] - 0.01
    for offset in 0.16 * (np.arange(order) - (order - 1) / 2):
        ends = np.stack([start[:2], stop[:2]]) + offset * normal
        panel.plot(ends[:, 0], ends[:, 1], color="0.25", linewidth=1.6, zorder=depth, solid_capstyle="round")


def _flattest_view(positions: NDArray[np.float32], like: NDArray[np.float32]) -> NDArray[np.float32]:
    """Coordinates [N, 3] about the centre of `like` [K, 3], whose spread along the line of sight is smallest."""
    centre = like.mean(axis=0)
    _, _, axes = np.linalg.svd(np.nan_to_num(like - centre), full_matrices=True)
    return np.nan_to_num(positions - centre) @ axes.T
