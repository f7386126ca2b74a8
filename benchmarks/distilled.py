"""A distilled model beside its teacher at few network calls: what is stable, and whether it is of the data's law.

    python benchmarks/distilled.py runs/fast --teacher qm9-deep --train $EAD_DATA/qm9.npz

All rows are of the same sizes and noise (equal seeds and ids) and begin as the student does, on its grid. Nothing is
cooled, and molecules are restarted only where the table says so. A finished row is a file in the work folder: the
command can be stopped at any time.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from kept import kept
from presets import Row, real, sampled
from presets_report import Measured, table
from quality_figures import QUICK_PARTS, measured

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.common.cpu import tune_cpu
from ead_core.errors import report_user_errors
from ead_core.evaluation.run import EvaluationPlan

STEPS = (4, 8, 16)
OF_TEACHER = ("rtk_renoise", "dpmpp_2m_sde")
PLAIN = {"temperature": 1.0, "corrector": 0}
RESTARTS = 3
SHOWN = ("steps", "start", "parity_restarts")  # of the settings, where they are not 0


class Made(NamedTuple):
    """What a row is of."""

    model: Checkpoint
    solver: str
    settings: dict[str, Any]

    @property
    def title(self) -> str:
        """As the table names it."""
        return f"{self.model.name}, {self.solver}"

    def path(self, work: Path, num: int, seed: int) -> Path:
        """Of its figures."""
        restarts = "-restarts" if self.settings["parity_restarts"] else ""
        name = f"{self.solver}-{self.settings['steps']}{restarts}.json"
        return work / f"{self.model.fingerprint()}-{num}-{seed}" / name


def planned(student: Checkpoint, teacher: Checkpoint) -> Iterator[Made]:
    """All rows in the order of the table."""
    sampler = student.config.sampler
    common = {"policy": "synchronous", "grid": sampler.grid, "start": sampler.start, **PLAIN}
    solvers = [*((teacher, solver) for solver in OF_TEACHER), (student, sampler.solver)]
    for steps, restarts, (model, solver) in product(STEPS, (0, RESTARTS), solvers):
        yield Made(model, solver, {**common, "solver": solver, "steps": steps, "parity_restarts": restarts})


def main(
    checkpoint: Annotated[str, typer.Argument(help="The student: name or folder.")],
    *,
    teacher: Annotated[str, typer.Option(help="Name or folder.")] = "qm9-deep",
    num: Annotated[int, typer.Option(min=2, help="Molecules per row.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Key of all noise.")] = 2,
    data: Annotated[Path | None, typer.Option(help="Data file: as many real molecules are the last row.")] = None,
    train: Annotated[Path | None, typer.Option(help="Training molecules, for novelty.")] = None,
    work: Annotated[Path, typer.Option(help="Keeps the files of each row.")] = Path("runs/distilled"),
) -> None:
    """Measure the missing rows, then print the table."""
    tune_cpu(1)
    plan, rows = EvaluationPlan(QUICK_PARTS, workers=1), []
    for made in planned(load_checkpoint(checkpoint), load_checkpoint(teacher)):
        path = made.path(work, num, seed)
        molecules = partial(sampled, made.model, Row(made.settings), num, seed, path.with_suffix(".npz"))
        figures = kept(path, partial(measured, molecules, train, plan))
        rows.append(Measured({key: made.settings[key] for key in SHOWN if made.settings[key]}, made.title, figures))
    if data:
        molecules = partial(real, load_checkpoint(teacher), data, num)
        figures = kept(work / f"data-{num}.json", partial(measured, molecules, None, plan))
        rows.append(Measured({}, "real molecules", figures))
    typer.echo(table(rows, "model, solver"))


if __name__ == "__main__":
    with report_user_errors("distilled"):
        typer.run(main)
