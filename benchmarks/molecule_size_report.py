"""The tables and the picture of `molecule_size.py`, from its rows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.pictures.figures import new_figure, write_figure

Rows = Sequence[dict[str, Any]]
COLOURS = {"egnn": "#e07b00", "egnn_rbf": "#1f77b4", "egnn_vector": "#1a9850"}
STYLES = {"native": "-", "torch": ":"}
LARGE = 75  # atoms from which on the exponent is fitted


def table(rows: Rows, title: str, cell: Callable[[dict], str], kernels: Sequence[str] = tuple(STYLES)) -> str:
    """Markdown with a line per network and kernel and a column per size."""
    sizes = sorted({row["atoms"] for row in rows})
    lines = [f"| {title} | {' | '.join(f'N = {atoms}' for atoms in sizes)} |", "|---|" + "---|" * len(sizes)]
    for kind in COLOURS:
        for kernel in kernels:
            name = f"{kind}, {kernel}" if len(kernels) > 1 else kind
            lines.append(f"| {name} | {' | '.join(cell(row) for row in line(rows, kind, kernel))} |")
    return "\n".join(lines) + "\n"


def line(rows: Rows, kind: str, kernel: str) -> list[dict]:
    """The rows of a network and kernel, small molecules first."""
    return sorted((r for r in rows if (r["kind"], r["kernel"]) == (kind, kernel)), key=lambda row: row["atoms"])


def summary(rows: Rows, counts: NDArray[np.int64]) -> str:
    """How the cost grows, and its mean over molecules of `counts` atoms, if there are any."""
    heads = [
        "network, kernel",
        "exponent",
        "pairs overtake atoms at N",
        *(["mean ms over the data"] if len(counts) else []),
    ]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for kind in COLOURS:
        for kernel in STYLES:
            atoms, seconds = columns(line(rows, kind, kernel), "seconds")
            cells = [f"{kind}, {kernel}", f"{exponent(atoms, seconds):.2f}", overtaking(atoms, seconds)]
            if len(counts):
                spread = np.exp(np.interp(np.log(counts), np.log(atoms), np.log(seconds)))
                cells.append(f"{1000 * spread.mean():.3g}")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def columns(rows: Rows, name: str) -> tuple[NDArray, NDArray]:
    return np.array([row["atoms"] for row in rows], float), np.array([row[name] for row in rows])


def exponent(atoms: NDArray, seconds: NDArray) -> float:
    """Slope of the logarithms over large molecules."""
    large = atoms >= LARGE
    return float(np.polyfit(np.log(atoms[large]), np.log(seconds[large]), 1)[0])


def overtaking(atoms: NDArray, seconds: NDArray) -> str:
    """N = a / b of the fit a N + b N² with the smallest relative errors."""
    terms = np.stack([atoms, atoms**2], axis=1) / seconds[:, None]
    per_atom, per_pair = np.linalg.lstsq(terms, np.ones(len(atoms)), rcond=None)[0]
    return f"{per_atom / per_pair:.0f}" if per_atom > 0 else f"below {atoms[0]:.0f}"


def draw(rows: Rows, memory: Rows, path: Path) -> None:
    """Cost and memory against size: a colour per network, a style per kernel, the plan as circles.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = new_figure(11, 5)
    cost, room = figure.subplots(1, 2)
    for kind, colour in COLOURS.items():
        for kernel, style in STYLES.items():
            atoms, seconds = columns(line(rows, kind, kernel), "seconds")
            cost.plot(atoms, 1000 * seconds, style, color=colour, marker=".", label=f"{kind}, {kernel}")
            atoms, measured = columns(line(memory, kind, kernel), "measured")
            room.plot(atoms, measured / 2**20, style, color=colour, marker=".")
        atoms, planned = columns(line(memory, kind, kernel), "planned")
        room.plot(atoms, planned / 2**20, "o", color=colour, markerfacecolor="none", label=f"{kind}, planned")
    cost.set(title="cost of a network call", ylabel="ms per molecule")
    room.set(title="memory of a network call", ylabel="MiB per molecule")
    ticks = sorted({row["atoms"] for row in rows})
    for axes in (cost, room):
        axes.set(xscale="log", yscale="log", xlabel="atoms of the molecule, N")
        axes.set_xticks(ticks, labels=map(str, ticks))
        axes.minorticks_off()
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    write_figure(figure, path, dpi=100)
