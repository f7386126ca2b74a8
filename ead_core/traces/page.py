"""A page that plays one trace in 3D: a single file that needs a browser, and nothing from the network.

Legend: N atoms, F frames shown.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.bonds import find_bonds
from ead_core.chemistry.elements import element_symbol
from ead_core.data.tensors import DUMMY
from ead_core.pictures.looks import ball_radius, colour_of
from ead_core.pictures.template import as_data, write_filled_page
from ead_core.traces.heatmap import palette
from ead_core.traces.trace import MoleculeTrace

MOST_FRAMES = 400  # unless the asynchronous part alone has more
LEAST_PREFIX = 60  # frames of the part before it
MOST_PLACES = 150_000  # atoms times frames: about three megabytes
BONDED_BELOW = 0.1  # of all levels: above, noise would make and break bonds in every frame
SCALE = 100  # stored units per Å
EMPTY_RADIUS = 0.08  # Å, of a slot without an atom
FAR = 1e4  # Å from the centre, and no further, is where a diverged atom is shown


def write_page(molecule: MoleculeTrace, path: Path | str, title: str = "") -> None:
    """Write the page of one molecule.

    Args:
        molecule: from a trace.
        path: `.html`.
        title: of the trace.

    Raises:
        OutputError: the file cannot be written.
    """
    write_filled_page("trace", {"/* TRACE */": as_data(page_data(molecule, title))}, path)


def page_data(molecule: MoleculeTrace, title: str = "") -> dict[str, Any]:
    """What the page shows, ready for JSON.

    Returns:
        Among others, per frame: `calls` [F] network calls so far, `levels` [F][N], `elements` [F][N] atomic
        numbers, `positions` [F][3 N] in 1/`scale` Å, `paused` lists of atoms, `bonds` lists of atom, atom, order.
    """
    frames = shown_frames(molecule)
    levels, charges = molecule.levels[frames], molecule.charges[frames]
    positions = np.nan_to_num(molecule.positions[frames], nan=0.0, posinf=0.0, neginf=0.0).clip(-FAR, FAR)
    return {
        "id": molecule.id,
        "title": title,
        "formula": molecule.formula,
        "calls": frames.tolist(),
        "start": int(np.searchsorted(frames, molecule.parting)),
        "top": int(molecule.levels[molecule.parting].max()),
        "order": molecule.order.tolist(),
        "levels": levels.tolist(),
        "elements": charges.tolist(),
        "paused": [np.flatnonzero(row).tolist() for row in molecule.paused[frames]],
        "scale": SCALE,
        "positions": (SCALE * positions).round().astype(int).reshape(len(frames), -1).tolist(),
        "bonds": _bonds(charges, positions, (levels <= BONDED_BELOW * molecule.levels.max()) & (charges != DUMMY)),
        "palette": palette(),
        "kinds": {int(number): _kind(int(number)) for number in np.unique(charges)},
    }


def shown_frames(molecule: MoleculeTrace) -> NDArray[np.int64]:
    """[F] frames that the page has: all from where levels part, and of those before as many as there is room for.

    Where even that would make the page too large, every so many are left out throughout.
    """
    total, atoms = molecule.levels.shape
    start = molecule.parting if molecule.behind.any() else total - 1
    prefix = min(start, max(MOST_FRAMES - (total - start), LEAST_PREFIX))
    frames = np.concatenate([np.arange(prefix) * start // max(prefix, 1), np.arange(start, total)])
    most = max(MOST_PLACES // atoms, 2)
    if len(frames) > most:
        frames = frames[np.linspace(0, len(frames) - 1, most).round().astype(int)]
    return frames


def _bonds(charges: NDArray[Any], positions: NDArray[Any], calm: NDArray[np.bool_]) -> list[list[int]]:
    """Per frame atom, atom and order of each bond between calm atoms [F, N], one after another."""
    found: list[list[int]] = [[] for _ in charges]
    for frame in np.flatnonzero(calm.sum(axis=1) > 1):
        for _, later, earlier, order in find_bonds(charges[frame][None], positions[frame][None]).tolist():
            if calm[frame, later] and calm[frame, earlier]:
                found[frame] += [earlier, later, order]
    return found


def _kind(number: int) -> dict[str, Any]:
    radius = EMPTY_RADIUS if number == DUMMY else ball_radius(number)
    return {"symbol": element_symbol(number), "colour": colour_of(number), "radius": round(radius, 3)}
