"""Quality at few network calls: every solver and every model made for few calls, in one table and one picture.

    python benchmarks/few_calls.py --direct runs/direct --num 500

All rows are of the same molecule ids of one seed, from a start at the top unless a row says so; nothing is cooled,
corrected or restarted. Calls include the one that decodes. A finished row is a file in the work folder, so that the
command can be stopped at any time and goes on where it was; rows of few calls come first.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from kept import kept
from quality_figures import QUICK_PARTS, Figures, cells, heading, line, measured, titles

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.data.store import MoleculeSet
from ead_core.errors import report_user_errors
from ead_core.evaluation.run import EvaluationPlan
from ead_core.pictures.figures import new_figure, write_figure
from ead_core.pictures.molecules import check_picture
from ead_core.sampling.generation import sample

CALLS = (4, 8, 16, 32, 64, 128)
PLAIN = {"policy": "synchronous", "start": 1.0, "temperature": 1.0, "corrector": 0, "parity_restarts": 0}
GAUSSIAN = {"start": 0.55}
SOLVERS: Mapping[str, Mapping[str, Any]] = {
    "ancestral, even grid": {"solver": "ancestral", "grid": "even"},
    "ancestral": {"solver": "ancestral"},
    "ddim": {"solver": "ddim"},
    "dpmpp_2m": {"solver": "dpmpp_2m"},
    "dpmpp_2m_sde": {"solver": "dpmpp_2m_sde"},
    "dpmpp_2m_sde from 0.55 T": {"solver": "dpmpp_2m_sde", **GAUSSIAN},
    "rtk_renoise": {"solver": "rtk_renoise"},
}
DISTILLED: Mapping[str, Mapping[str, Any]] = {"rtk_renoise from 0.55 T": {"solver": "rtk_renoise", **GAUSSIAN}}
TOLD: Mapping[str, Mapping[str, Any]] = {
    "direct": {"solver": "direct"},
    "rtk_mean": {"solver": "rtk_mean"},
    "rtk_renoise": {"solver": "rtk_renoise"},
    "dpmpp_2m_sde": {"solver": "dpmpp_2m_sde"},
}


class Row(NamedTuple):
    """What a row is of."""

    model: Checkpoint
    solver: str
    changes: Mapping[str, Any]
    calls: int

    @property
    def title(self) -> str:
        """Of its line in the picture."""
        return f"{self.model.name}, {self.solver}"

    def made(self, num: int, seed: int) -> MoleculeSet:
        """Its molecules."""
        grid = {} if self.changes["solver"] == "direct" else {"grid": "quadratic"}
        with progress_bar(f"{self.title}, {self.calls} calls", num) as progress:
            settings = {**PLAIN, **grid, **self.changes, "steps": self.calls - 1}
            return sample(self.model, num, seed, progress=progress, **settings)

    def file(self, work: Path, num: int, seed: int) -> Path:
        """Of its figures."""
        name = f"{self.solver.replace(', ', '-').replace(' ', '-')}-{self.calls}.json"
        return work / f"{self.model.fingerprint()}-{num}-{seed}" / name


def planned(plain: Checkpoint, distilled: Checkpoint, told: Checkpoint | None) -> Iterator[Row]:
    """All rows in the order of the table."""
    for model, solvers in ((plain, SOLVERS), (distilled, DISTILLED), (told, TOLD)):
        if model:
            yield from (Row(model, name, solvers[name], calls) for name in solvers for calls in CALLS)


def draw(found: Sequence[tuple[Row, Figures]], path: Path) -> None:
    """Stable molecules, and the distance to QM9, against network calls: a line per model and solver."""
    figure = new_figure(11, 5.8)
    shown = {"molecule_stability": ("stable molecules, %", 100), "fcd": ("Fréchet ChemNet distance to QM9", 1)}
    for axes, (name, (label, scale)) in zip(figure.subplots(1, 2), shown.items(), strict=True):
        for number, title in enumerate(dict.fromkeys(row.title for row, _ in found)):
            points = {row.calls: of[name][0] for row, of in found if row.title == title and name in of}
            again = number // 10  # colours are ten
            style = {"marker": "os^"[again], "linestyle": ("-", "--", ":")[again], "color": f"C{number % 10}"}
            axes.plot(list(points), [scale * value for value in points.values()], label=title, markersize=4, **style)
        axes.set(xscale="log", xlabel="network calls per molecule", ylabel=label)
        ticks = sorted({row.calls for row, _ in found})
        axes.set_xticks(ticks, labels=map(str, ticks))
        axes.minorticks_off()
        axes.grid(alpha=0.25)
    axes.set(yscale="log", yticks=(2, 5, 10, 20), yticklabels=("2", "5", "10", "20"))
    axes.minorticks_off()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    write_figure(figure, path)


def main(  # noqa: PLR0913
    *,
    checkpoint: Annotated[str, typer.Option(help="The model of the solvers.")] = "qm9-deep",
    distilled: Annotated[str, typer.Option(help="A student of it.")] = "qm9-fast",
    direct: Annotated[str | None, typer.Option(help="One of configs/qm9_direct.yaml, if there is.")] = None,
    num: Annotated[int, typer.Option(min=2, help="Molecules per row.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Key of all noise.")] = 0,
    max_calls: Annotated[int, typer.Option(min=0, help="Leave rows of more calls for later.")] = max(CALLS),
    work: Annotated[Path, typer.Option(help="Keeps a file per finished row.")] = Path("runs/few-calls"),
    picture: Annotated[Path, typer.Option(help="Where to draw.")] = Path("docs/results/few-calls.png"),
) -> None:
    """Measure the missing rows, then print the table and draw the picture of all there are."""
    check_picture(picture)
    tune_cpu(1)
    told = load_checkpoint(direct) if direct else None
    rows = list(planned(load_checkpoint(checkpoint), load_checkpoint(distilled), told))
    plan = EvaluationPlan(QUICK_PARTS, num, workers=1)
    for row in sorted(rows, key=lambda row: row.calls):
        if row.calls <= max_calls:
            kept(row.file(work, num, seed), partial(measured, partial(row.made, num, seed), None, plan))
    files = [(row, row.file(work, num, seed)) for row in rows]
    found = [(row, json.loads(file.read_text())) for row, file in files if file.is_file()]
    typer.echo(heading(["model", "solver", *titles()]))
    for row, figures in found:
        typer.echo(line([row.model.name, row.solver, *cells(figures)]))
    if found:
        draw(found, picture)


if __name__ == "__main__":
    with report_user_errors("few_calls"):
        typer.run(main)
