"""Quality at few network calls: a row per solver, grid and number of steps, a table, and a picture.

    python benchmarks/quality_nfe.py --threads 2

All rows are of the same molecules (equal seeds and ids). A finished row is a file in the work folder, so that the
command can be stopped at any time and goes on where it was; `--max-steps 100` leaves the expensive rows for later.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from quality_nfe_report import draw, table

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.common.files import write_aside
from ead_core.errors import report_user_errors
from ead_core.evaluation.published import evaluate_published
from ead_core.pictures.molecules import check_picture
from ead_core.sampling.generation import sample

STEPS = (10, 20, 50, 100, 250, 1000)
SOLVERS = ("ancestral", "ddim", "dpmpp_2m", "dpmpp_2m_sde")
GRIDS = ("even", "quadratic")
ADAPTIVE_STEPS = (50, 100)


class Row(NamedTuple):
    """What a row is of; adaptive rows have the checkpoint's other settings."""

    steps: int
    solver: str
    grid: str
    policy: str = "synchronous"

    @property
    def name(self) -> str:
        """Of its file."""
        return "-".join(map(str, self))


def planned(levels: int) -> Iterator[Row]:
    """All rows, those of few calls first; with all `levels` of training, the grids are one and the same."""
    for steps in STEPS:
        for grid in GRIDS[: 1 if steps == levels else None]:
            yield from (Row(steps, solver, grid) for solver in SOLVERS)
        if steps in ADAPTIVE_STEPS:
            yield from (Row(steps, solver, "quadratic", "adaptive") for solver in ("ancestral", "dpmpp_2m_sde"))


def measure(model: Checkpoint, row: Row, num: int, seed: int) -> dict[str, Any]:
    """The figures of a row, beside its settings."""
    with progress_bar(row.name, num) as progress:
        molecules = sample(model, num, seed, progress=progress, **row._asdict())
    card = evaluate_published(molecules).card
    return {**row._asdict(), "checkpoint": model.name, "seed": seed, **card.to_json()}


def missing_rows(rows: Iterable[Row], work: Path) -> list[Row]:
    return [row for row in rows if not (work / f"{row.name}.json").is_file()]


def main(
    checkpoint: Annotated[str, typer.Argument(help="Name or folder.")] = "qm9-small",
    num: Annotated[int, typer.Option(min=1, help="Molecules per row.")] = 1000,
    seed: Annotated[int, typer.Option(help="Key of all noise.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch.")] = None,
    max_steps: Annotated[int, typer.Option(min=10, help="Leave rows of more steps for later.")] = 1000,
    work: Annotated[Path, typer.Option(help="Keeps a file per finished row.")] = Path("runs/quality-nfe"),
    picture: Annotated[Path, typer.Option(help="Where to draw.")] = Path("docs/results/fewer-steps.png"),
) -> None:
    """Measure the missing rows, then print the table and draw the picture of all rows there are."""
    check_picture(picture)
    tune_cpu(threads)
    model = load_checkpoint(checkpoint)
    folder = work / f"{model.fingerprint()}-{num}-{seed}"
    rows = list(planned(model.config.diffusion.steps))
    for row in missing_rows([row for row in rows if row.steps <= max_steps], folder):
        figures = measure(model, row, num, seed)
        with write_aside(folder / f"{row.name}.json") as aside:
            aside.write_text(json.dumps(figures, indent=1) + "\n")
        typer.echo(f"{row.name}: {100 * figures['molecule_stability']:.1f} % stable", err=True)
    left = missing_rows(rows, folder)
    done = [json.loads((folder / f"{row.name}.json").read_text()) for row in rows if row not in left]
    typer.echo(table(done))
    if done:
        draw(done, model.config.diffusion.steps, picture)
    typer.echo(f"{len(left)} rows are missing{': ' if left else ''}{', '.join(row.name for row in left)}", err=True)


if __name__ == "__main__":
    with report_user_errors("quality_nfe"):
        typer.run(main)
