"""Quality at few network calls: maps of the reverse transition kernel beside solvers, as one table.

    python benchmarks/few_calls.py runs/direct --beside qm9-deep

The first model is one that is given its own estimates (`configs/qm9_direct.yaml`), the other the one it began from. All
rows are of the same molecules (equal seeds and ids). A finished row is a file in the work folder, so that the command
can be stopped at any time and goes on where it was; rows of few calls come first.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.common.files import write_aside
from ead_core.common.markdown import as_text, table
from ead_core.errors import report_user_errors
from ead_core.evaluation.published import evaluate_published
from ead_core.sampling.generation import sample

STEPS = (4, 8, 16, 32)
ITERATIONS = (1, 10, 100)  # of `direct`
TOLD, PLAIN = ("rtk_mean", "rtk_renoise", "dpmpp_2m_sde"), ("ddim", "rtk_renoise", "dpmpp_2m_sde")
FIGURES = ("atom_stability", "molecule_stability", "validity", "validity_x_uniqueness")
HEADING = ["model", "solver", "steps", "network calls", "atoms stable %", "molecules stable %", "valid %", "V×U %"]


class Row(NamedTuple):
    """What a row is of."""

    model: Checkpoint
    solver: str
    steps: int

    @property
    def settings(self) -> dict[str, Any]:
        """Of the sampler; a start at the top, and nothing that cools."""
        grid = {} if self.solver == "direct" else {"grid": "quadratic"}
        plain = {"policy": "synchronous", "start": 1.0, "temperature": 1.0, "corrector": 0, "parity_restarts": 0}
        return {**plain, **grid, "solver": self.solver, "steps": self.steps}

    def file(self, work: Path, num: int, seed: int) -> Path:
        """Of its figures."""
        return work / f"{self.model.fingerprint()}-{num}-{seed}" / f"{self.solver}-{self.steps}.json"


def planned(told: Checkpoint, plain: Checkpoint) -> Iterator[Row]:
    """All rows in the order of the table."""
    yield from (Row(told, "direct", steps) for steps in ITERATIONS)
    for model, solvers in ((told, TOLD), (plain, PLAIN)):
        yield from (Row(model, solver, steps) for solver in solvers for steps in STEPS)


def measure(row: Row, num: int, seed: int) -> dict[str, Any]:
    """The figures of a row."""
    with progress_bar(f"{row.model.name} {row.solver} {row.steps}", num) as progress:
        molecules = sample(row.model, num, seed, progress=progress, **row.settings)
    return evaluate_published(molecules).card.to_json()


def cells(row: Row, figures: dict[str, Any]) -> list[str]:
    """A line of the table, in percent with 95 % intervals."""
    quality = [
        f"{100 * figures[name]:.1f} ({100 * low:.1f}–{100 * high:.1f})"
        for name in FIGURES
        for low, high in [figures["intervals"][name]]
    ]
    return [as_text(row.model.name), row.solver, str(row.steps), f"{figures['nfe_per_molecule']:.0f}", *quality]


def main(
    checkpoint: Annotated[str, typer.Argument(help="A model with network.self_conditioning: its name or folder.")],
    *,
    beside: Annotated[str, typer.Option(help="The model without.")] = "qm9-deep",
    num: Annotated[int, typer.Option(min=1, help="Molecules per row.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Key of all noise.")] = 0,
    max_steps: Annotated[int, typer.Option(min=0, help="Leave rows of more steps for later.")] = max(ITERATIONS),
    work: Annotated[Path, typer.Option(help="Keeps a file per finished row.")] = Path("runs/few-calls"),
) -> None:
    """Measure the missing rows, then print the table of all there are."""
    tune_cpu(1)
    rows = list(planned(load_checkpoint(checkpoint), load_checkpoint(beside)))
    for row in sorted(rows, key=lambda row: row.steps):
        file = row.file(work, num, seed)
        if row.steps <= max_steps and not file.is_file():
            figures = measure(row, num, seed)
            with write_aside(file) as aside:
                aside.write_text(json.dumps(figures, indent=1) + "\n")
    files = [(row, row.file(work, num, seed)) for row in rows]
    done = [cells(row, json.loads(file.read_text())) for row, file in files if file.is_file()]
    typer.echo(table([HEADING, *done]))


if __name__ == "__main__":
    with report_user_errors("few_calls"):
        typer.run(main)
