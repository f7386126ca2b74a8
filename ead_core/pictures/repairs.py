"""Repairs in a picture, or in a page in 3D: each molecule before, with the atoms that were freed, and after."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.molecule import Molecule
from ead_core.errors import OutputError
from ead_core.pictures.figures import new_figure, write_figure
from ead_core.pictures.molecules import PANEL_INCHES, PICTURES, draw_molecule, mdl_block
from ead_core.pictures.template import as_data, write_filled_page

PAGE = ".html"


class Mended(NamedTuple):
    """A molecule before and after, in one frame, and which atoms [N] were freed."""

    before: Molecule
    freed: NDArray[np.bool_]
    after: Molecule

    @property
    def caption(self) -> str:
        """What happened, in a line."""
        changed = f"{self.before.formula} → {self.after.formula}"
        return f"{changed} · {int(self.freed.sum())} of {len(self.freed)} atoms freed"


def check_repair_picture(path: Path) -> None:
    """OutputError unless the name ends in a format that `show_repairs` writes."""
    if path.suffix not in (*PICTURES, PAGE):
        raise OutputError(f"cannot write {path}: the name must end in one of {', '.join((*PICTURES, PAGE))}.")


def show_repairs(repairs: Sequence[Mended], path: Path) -> None:
    """Write a page that shows repairs in 3D, or a picture of them, as the name says.

    Args:
        repairs: at least one.
        path: `.html`, `.png`, `.svg` or `.pdf`.

    Raises:
        OutputError: the file cannot be written.
    """
    if path.suffix == PAGE:
        shown = [
            {
                "caption": repair.caption,
                "before": mdl_block(repair.before),
                "after": mdl_block(repair.after),
                "freed": np.flatnonzero(repair.freed).tolist(),
            }
            for repair in repairs
        ]
        write_filled_page("repair", {"/* REPAIRS */": as_data(shown)}, path)
    else:
        draw_repairs(repairs, path)


def draw_repairs(repairs: Sequence[Mended], path: Path | str) -> None:
    """Write a picture (format by extension) with three panels for each repair, two repairs in a row.

    The three are seen from the same side, each from where the molecule before is flattest; freed atoms have a halo.

    Args:
        repairs: at least one.
        path: `.png`, `.svg` or `.pdf`.

    Raises:
        OutputError: the file cannot be written.
    """
    across = min(2, len(repairs))
    rows = -(-len(repairs) // across)
    figure = new_figure(1.2 * 3 * across * PANEL_INCHES, 1.2 * rows * PANEL_INCHES)
    panels = figure.subplots(rows, 3 * across, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
        panel.set_aspect("equal")
    for number, (before, freed, after) in enumerate(repairs):
        first, middle, last = panels[3 * number : 3 * number + 3]
        draw_molecule(first, before, marked=np.zeros_like(freed))  # as large as the others
        draw_molecule(middle, before, marked=freed)
        draw_molecule(last, after, like=before, marked=freed)
        first.set_title(f"{before.known.get('id', number)} · {before.formula}\nbefore", fontsize=8, color="#b00020")
        middle.set_title(f"\n{int(freed.sum())} of {len(freed)} atoms freed", fontsize=8, color="0.2")
        last.set_title(f"{after.formula}\nafter", fontsize=8, color="0.2")
    write_figure(figure, path, dpi=110)
