"""Figures of matplotlib that share no state, and writing them so that nobody sees half of one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ead_core.common.files import write_aside

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float, layout: Any = "constrained") -> "Figure":
    """An empty figure that no window shows.

    Args:
        width: inches.
        height: inches.
        layout: matplotlib's name of a layout engine, or an engine.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def write_figure(figure: "Figure", path: Path | str, dpi: int = 120) -> None:
    """Write a figure in the format that the file's ending names.

    Raises:
        OutputError: the file cannot be written.
    """
    with write_aside(path) as aside:
        figure.savefig(aside, dpi=dpi)
