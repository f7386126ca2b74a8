"""Start, temperature and restarts beside steps: the front of quality against calls, from which presets are chosen.

    python benchmarks/presets.py qm9-deep --num 300 --seed 1                # the sweep
    python benchmarks/presets.py qm9-deep --num 1000 --seed 2 --confirm     # its presets, each beside its plain sampler

All rows are of the same molecules (equal seeds and ids), sampled by synchronous steps of second order. A setting that
buys stability by leaving the distribution of the data is no preset, so each row is measured like by `ead evaluate`, and
real molecules are the last row. A finished row is a file in the work folder: the command can be stopped at any time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from kept import kept
from presets_report import SETTINGS, Measured, draw, table
from quality_figures import PARTS, measured

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.config import sampler_settings
from ead_core.config.presets import NAMES
from ead_core.data.formats import read_molecules
from ead_core.data.store import MoleculeSet, load_npz, save_npz
from ead_core.errors import report_user_errors
from ead_core.evaluation.run import EvaluationPlan
from ead_core.pictures.molecules import check_picture
from ead_core.sampling.generation import sample
from ead_core.sampling.presets import preset_settings

PLAIN = {"policy": "synchronous", "solver": "dpmpp_2m_sde", "grid": "quadratic"}
NOT_PLAIN = (*SETTINGS[1:], "corrector_channels")  # what a plain row lacks
STEPS = (25, 50, 100)
VARIATIONS: tuple[Mapping[str, Any], ...] = (
    {},
    {"start": 0.55},
    {"temperature": 0.25},
    {"start": 0.55, "temperature": 0.25},
    {"start": 0.4, "temperature": 0.25},
    {"start": 0.7, "temperature": 0.25},
    {"start": 0.55, "temperature": 0.4},
    {"start": 0.55, "temperature": 0.15},
    {"start": 0.55, "temperature": 0.25, "corrector": 0.5, "corrector_channels": "coordinates"},
    {"parity_restarts": 3},
    {"start": 0.55, "temperature": 0.4, "parity_restarts": 3},
    {"start": 0.55, "temperature": 0.25, "parity_restarts": 3},
)


@dataclass(frozen=True)
class Row:
    """A line of the table: sampler keys without prefix, and the preset that they are."""

    settings: Mapping[str, Any]
    preset: str | None = None

    @property
    def name(self) -> str:
        """Of its files, from what is not plain."""
        return "-".join(f"{key}-{self.settings[key]:g}" for key in SETTINGS if key in self.settings)


def sweep() -> Iterator[Row]:
    """All rows from which presets are chosen, those of few steps first."""
    for steps in STEPS:
        yield from (Row({**PLAIN, "steps": steps, **changes}) for changes in VARIATIONS)


def confirmation(model: Checkpoint) -> Iterator[Row]:
    """The presets of a checkpoint, each followed by the same steps without what is not plain."""
    for name in NAMES:
        settings = sampler_settings(preset_settings(model, name))
        yield Row(settings, name)
        yield Row({key: value for key, value in settings.items() if key not in NOT_PLAIN})


def sampled(model: Checkpoint, row: Row, num: int, seed: int, path: Path) -> MoleculeSet:
    """The molecules of a row, from its file if there is one."""
    if not path.is_file():
        with progress_bar(row.name, num) as progress:
            save_npz(sample(model, num, seed, progress=progress, **row.settings), path)
    return load_npz(path)


def real(model: Checkpoint, path: Path, num: int) -> MoleculeSet:
    """Some molecules of a data file that have the model's elements only."""
    molecules, known = read_molecules(path).molecules, set(model.statistics.atom_numbers)
    order = np.random.default_rng(0).permutation(len(molecules)).tolist()
    fitting = (place for place in order if known.issuperset(molecules[place].charges.tolist()))
    return molecules.select(list(islice(fitting, num)))


def main(  # noqa: PLR0913 (what a row is of, and what is measured)
    checkpoint: Annotated[str, typer.Argument(help="Name or folder.")] = "qm9-deep",
    *,
    num: Annotated[int, typer.Option(min=2, help="Molecules per row.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Key of all noise.")] = 1,
    confirm: Annotated[bool, typer.Option("--confirm", help="The checkpoint's presets instead of the sweep.")] = False,
    data: Annotated[Path | None, typer.Option(help="Data file: as many real molecules are the last row.")] = None,
    train: Annotated[Path | None, typer.Option(help="Training molecules, for novelty.")] = None,
    checked: Annotated[int, typer.Option("--sample", min=0, help="Molecules given to PoseBusters.")] = 300,
    finished: Annotated[bool, typer.Option("--finished", help="Measure nothing that is missing.")] = False,
    work: Annotated[Path, typer.Option(help="Keeps the files of each row.")] = Path("runs/presets"),
    picture: Annotated[Path | None, typer.Option(help="Where to draw the front.")] = None,
) -> None:
    """Measure the missing rows, then print the table and draw the picture of all rows there are."""
    if picture:
        check_picture(picture)
    tune_cpu(1)
    model = load_checkpoint(checkpoint)
    plan = EvaluationPlan(PARTS, checked, workers=1)
    folder, done = work / f"{model.fingerprint()}-{num}-{seed}", []
    for row in confirmation(model) if confirm else sweep():
        path = folder / f"{row.name}.json"
        if path.is_file() or not finished:
            molecules = partial(sampled, model, row, num, seed, path.with_suffix(".npz"))
            done.append(Measured(row.settings, row.preset, kept(path, partial(measured, molecules, train, plan))))
    if data:
        found = kept(folder / "data.json", partial(measured, partial(real, model, data, num), None, plan))
        done.append(Measured({}, "real molecules", found))
    typer.echo(table(done))
    if picture and done:
        draw(done, f"{model.name}: {num:,} molecules per point, equal noise, 95 % intervals", picture)


if __name__ == "__main__":
    with report_user_errors("presets"):
        typer.run(main)
