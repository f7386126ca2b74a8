"""The levels of one molecule's atoms over the network calls, as a picture.

Legend: N atoms, F frames shown.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.pictures.figures import new_figure, write_figure
from ead_core.pictures.looks import colour_of
from ead_core.traces.trace import MoleculeTrace

PALETTE, DARKEST, SHADES = "viridis", 0.1, 64  # grows evenly in lightness; its darkest end hides the shading of balls
WIDTH, ROW_INCHES, MARGIN_INCHES = 11.0, 0.17, 0.85
LEAST_INCHES, MOST_INCHES = 1.6, 14.0  # of a panel's height
LINES = (0.75, 0.5, 0.25, 0.0)  # of the highest level shown: where lines are drawn


def draw_levels(molecule: MoleculeTrace, path: Path | str, title: str = "") -> None:
    """Write a picture (format by extension) from where the levels part to the end.

    Atoms are rows, in the order in which they settled. The first panel has their levels, the second how far each is
    behind the one ahead; it is left out where all atoms move together.

    Args:
        molecule: from a trace.
        path: `.png`, `.svg` or `.pdf`.
        title: of the trace.

    Raises:
        OutputError: the file cannot be written.
    """
    write_figure(levels_figure(molecule, title), path, dpi=110)


def levels_figure(molecule: MoleculeTrace, title: str = "") -> Any:
    """The picture of `draw_levels` as matplotlib's figure."""
    start, order = molecule.parting, molecule.order
    levels, behind, paused = (values[start:, order].T for values in (molecule.levels, molecule.behind, molecule.paused))
    panels = 2 if behind.any() else 1
    height = float(np.clip(ROW_INCHES * len(order), LEAST_INCHES, MOST_INCHES))
    figure = new_figure(WIDTH, panels * (height + MARGIN_INCHES))
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    _draw_level_panel(figure, axes[0], levels, paused, start)
    if panels == 2:
        _draw_panel(figure, axes[1], behind, start, "levels behind the atom ahead")
        axes[1].set_title("How far each atom is behind the one ahead", fontsize=9, loc="left")
    for panel in axes:
        _label_atoms(panel, molecule, height)
    axes[-1].set_xlabel("network calls")
    heading = f"Molecule {molecule.id}, {molecule.formula}" + (f"  ({title})" if title else "")
    figure.suptitle(heading, fontsize=10, x=0.01, ha="left", parse_math=False)
    return figure


def palette() -> list[str]:
    """Colours from low to high, readable in grey and with any colour vision."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colour) for colour in colormaps[PALETTE](np.linspace(DARKEST, 1, SHADES))]


def _draw_level_panel(figure: Any, panel: Any, levels: NDArray[Any], paused: NDArray[Any], start: int) -> None:
    """Levels [N, F] with lines where atoms pass a level, and a dark mark under every pause."""
    bar = _draw_panel(figure, panel, levels, start, "noise level (0 = clean)")
    marks = np.zeros((*paused.repeat(3, axis=0).shape, 4))
    marks[2::3, :, 3] = 0.8 * paused
    panel.imshow(marks, extent=_extent(levels, start), aspect="auto", interpolation="nearest")
    rows = np.repeat(np.arange(len(levels) + 1) - 0.5, 2)[1:-1]
    passed = [round(share * int(levels.max())) for share in LINES]
    for level in passed:
        first = start + np.argmax(levels <= level, axis=1) - 0.5
        panel.plot(np.repeat(first, 2), rows, color="w", linewidth=1)
    bar.set_ticks(sorted({*passed, int(levels.max())}))
    bar.ax.hlines(passed, 0, 1, color="w", linewidth=1)
    said = "lines: a level is passed" + ("; dark marks: the atom paused" if paused.any() else "")
    panel.set_title(f"Noise level of each atom ({said})", fontsize=9, loc="left")


def _draw_panel(figure: Any, panel: Any, values: NDArray[Any], start: int, meaning: str) -> Any:
    """Values [N, F] in colour, with their colour bar."""
    from matplotlib.colors import ListedColormap
    from matplotlib.ticker import MaxNLocator

    image = panel.imshow(
        values,
        cmap=ListedColormap(palette()),
        vmin=0,
        extent=_extent(values, start),
        aspect="auto",
        interpolation="nearest",
    )
    whole = MaxNLocator(6, integer=True)
    return figure.colorbar(image, ax=panel, label=meaning, ticks=whole, pad=0.01, fraction=0.03)


def _extent(values: NDArray[Any], start: int) -> tuple[float, float, float, float]:
    N, F = values.shape
    return start - 0.5, start + F - 0.5, N - 0.5, -0.5


def _label_atoms(panel: Any, molecule: MoleculeTrace, height: float) -> None:
    """Element and number of each row; hydrogens in grey, and hollow."""
    order, numbers, symbols = molecule.order, molecule.charges[-1][molecule.order].tolist(), molecule.symbols
    size = min(7.0, 0.85 * 72 * height / len(order))
    inks = ["0.55" if number == 1 else "0.1" for number in numbers]
    panel.set_yticks(range(len(order)), [f"{symbols[atom]} {atom + 1}   " for atom in order])
    panel.tick_params(axis="y", length=0, labelsize=size)
    for label, ink in zip(panel.get_yticklabels(), inks, strict=True):
        label.set_color(ink)
    panel.scatter(
        np.full(len(order), -0.008),
        np.arange(len(order)),
        s=0.64 * size**2,
        c=[colour_of(number) for number in numbers],
        edgecolors=inks,
        linewidths=0.6,
        transform=panel.get_yaxis_transform(),  # x counts in widths of the panel
        clip_on=False,
    )
    panel.set_ylabel("atoms, first to settle on top", fontsize=8)
