"""All methods of the project in one table: what each makes of the same data, and at which cost.

    python benchmarks/methods.py --runs runs --train qm9.npz

A method is a checkpoint and a way of sampling it. Checkpoints that are not bundled are folders of `--runs`, made by
the commands in `METHODS`. What has not been trained is a row that says so, and what has not finished says how far it
came. A finished row is a file in the work folder: the command can be stopped at any time, and goes on where it was.
Published figures of others stand in a table of their own.

Core-hours are the molecules seen in training times the CPU time that one takes in a training step here, because old
trainings shared their cores with other work.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer
from kept import kept
from quality_figures import PARTS, cells, heading, line, measured, titles

from ead_core.checkpoints.checkpoint import Checkpoint, bundled, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common import markdown
from ead_core.common.cpu import tune_cpu
from ead_core.config import sampler_settings
from ead_core.data.batching import TrainingBatches
from ead_core.errors import CheckpointError, report_user_errors
from ead_core.evaluation.run import EvaluationPlan
from ead_core.sampling.generation import sample
from ead_core.sampling.presets import preset_settings
from ead_core.training.parallel import Workers
from ead_core.training.progress import steps_done
from ead_core.training.trainer import Trainer

STEPS = 5  # of training, which are timed
QUICK: dict[str, Any] = {"policy": "synchronous", "steps": 20}  # of the molecules for these


class Method(NamedTuple):
    """A row.

    Attributes:
        title: its name in the literature.
        model: a bundled checkpoint, or a folder of `--runs`.
        sampler: keys without prefix; a preset's if it is a name.
        training: the command that makes the folder.
    """

    title: str
    model: str
    sampler: Mapping[str, Any] | str
    training: str = ""


PLAIN = {"policy": "synchronous", "solver": "dpmpp_2m_sde", "grid": "quadratic", "steps": 100}
ITERATED = {"policy": "synchronous", "solver": "direct", "steps": 10}
CORRECTED = {**PLAIN, "corrector": 0.5, "corrector_channels": "coordinates"}
FRESH = {**PLAIN, "solver": "rtk_renoise", "steps": 16}
EDM = "ead train configs/qm9.yaml --out {runs}/edm diffusion.interval=0"
SYMDIFF = "python benchmarks/symdiff.py --work {runs}/symdiff"
DIRECT = "ead train configs/qm9_direct.yaml --out {runs}/direct"
METHODS = (
    Method("EDM's network and schedule (`egnn`)", "edm", PLAIN, EDM),
    Method("GDM/DiT: a transformer as it is", "symdiff/small-20000/none-0", PLAIN, SYMDIFF),
    Method("DiT-Aug: in uniformly random frames", "symdiff/small-20000/haar-0", PLAIN, SYMDIFF),
    Method("SymDiff, released order", "symdiff/small-20000/learned-released-0", PLAIN, SYMDIFF),
    Method("SymDiff, corrected order", "symdiff/small-20000/learned-corrected-0", PLAIN, SYMDIFF),
    Method("EAD, sampled synchronously", "qm9-deep", PLAIN),
    Method("EAD, adaptive", "qm9-deep", {**PLAIN, "policy": "adaptive"}),
    Method("EAD, synchronous with corrector", "qm9-deep", CORRECTED),
    Method("EAD, preset `fast`", "qm9-deep", "fast"),
    Method("EAD, fresh noise (`rtk_renoise`)", "qm9-deep", {**FRESH, "start": 0.55}),
    Method("EAD, distilled (`qm9-fast`)", "qm9-fast", {**FRESH, "start": 0.55, "steps": 8}),
    Method("DDDM (`direct`)", "direct", ITERATED, DIRECT),
    Method("DDDM by levels (`rtk_mean`)", "direct", {**FRESH, "solver": "rtk_mean"}, DIRECT),
    Method("DDDM by levels, fresh noise", "direct", FRESH, DIRECT),
)
THEIRS = (  # method, stable atoms, stable molecules, valid, V×U; of 10,000 molecules
    ("EDM", "98.7", "82.0", "91.9", "90.7"),
    ("GDM", "97.6", "71.6", "90.4", "89.5"),
    ("GeoLDM", "98.9", "89.4", "93.8", "92.7"),
    ("UniGEM", "99.0", "89.8", "95.0", "93.2"),
    ("EAD, synchronous", "98.7", "81.9", "91.9", "90.2"),
    ("EAD, adaptive", "99.0", "90.3", "95.1", "93.2"),
    ("DiT (recalled, not checked)", "98.23", "81.03", "94.71", ""),
    ("DiT-Aug (recalled, not checked)", "98.64", "85.85", "95.10", ""),
    ("SymDiff (recalled, not checked)", "98.74", "87.49", "95.75", ""),
)
FACTS = ("method", "checkpoint", "parameters", "molecules seen", "core-hours of training")
COSTS = ("V×U×novel %", "CPU s")


@dataclass(frozen=True)
class Table:
    """Measures rows.

    Attributes:
        runs: folder of trainings.
        work: keeps what is measured.
        num: molecules of a row.
        seed: of all noise.
        train: training molecules, for novelty.
        checked: molecules given to PoseBusters.
    """

    runs: Path
    work: Path
    num: int
    seed: int
    train: Path | None
    checked: int

    def row(self, method: Method) -> list[str]:
        """A line of the table, or one that says what has not been trained."""
        try:
            model = load_checkpoint(method.model if method.model in bundled() else self.runs / method.model)
        except CheckpointError:
            missing = f"not trained: `{method.training.format(runs=self.runs)}`"
            return [method.title, missing, *[""] * (len(FACTS) + len(titles()) + len(COSTS) - 2)]
        found = self.found(model, method.sampler)
        shares = [found["figures"].get(name, [0.0])[0] for name in ("validity_x_uniqueness", "novelty")]
        costs = [f"{100 * shares[0] * shares[1]:.1f}", f"{found['seconds']:.2f}"]
        return [method.title, *self.facts(model, method), *cells(found["figures"]), *costs]

    def found(self, model: Checkpoint, sampler: Mapping[str, Any] | str) -> dict[str, Any]:
        """What is measured of a row, from its file if there is one."""
        keys = sampler_settings(preset_settings(model, sampler)) if isinstance(sampler, str) else sampler
        folder = self.folder(model)
        name = "-".join(str(keys[key]) for key in sorted(keys))
        found: dict[str, Any] = kept(folder / f"{name}.json", partial(self.measured, model, keys))
        return found

    def folder(self, model: Checkpoint) -> Path:
        """Where what is measured of a checkpoint is kept."""
        return self.work / f"{model.fingerprint()}-{self.num}-{self.seed}"

    def measured(self, model: Checkpoint, keys: Mapping[str, Any]) -> dict[str, Any]:
        """Figures of a row's molecules, and CPU seconds of one."""
        start = time.process_time()
        with progress_bar(f"{model.name} {keys}", self.num) as progress:
            molecules = sample(model, self.num, self.seed, progress=progress, **keys)
        seconds = (time.process_time() - start) / self.num
        figures = measured(lambda: molecules, self.train, EvaluationPlan(PARTS, self.checked, workers=1))
        return {"figures": figures, "seconds": seconds}

    def facts(self, model: Checkpoint, method: Method) -> Iterator[str]:
        """What the model is, and what its training took."""
        training = model.config.training
        done = steps_done(self.runs / method.model) if method.training else training.steps
        seen, start = done * training.batch_size, f" + {training.initial}" if training.initial else ""
        yield model.name if done >= training.steps else f"{model.name} ({done:,} of {training.steps:,} steps)"
        yield f"{sum(weights.numel() for weights in model.denoiser.parameters()):,}"
        yield f"{seen / 1e6:.1f} M{start}"
        step = kept(self.folder(model) / "training-step.json", partial(training_seconds, model))
        yield f"{seen * step / 3600:.1f}{start}"


def training_seconds(model: Checkpoint) -> float:
    """CPU seconds of a molecule in a training step of the model's recipe, on molecules of its own."""
    config = model.config
    batch = config.training.batch_size
    trainer = Trainer.create(config, model.statistics, Workers(0, 1, torch.device("cpu")))
    batches = TrainingBatches(sample(model, 2 * batch, 0, **QUICK), model.atom_types, batch, seed=0)
    trainer.advance(batches.batch(0))
    start = time.process_time()
    for step in range(1, 1 + STEPS):
        trainer.advance(batches.batch(step))
    return (time.process_time() - start) / (STEPS * batch)


def main(
    *,
    runs: Annotated[Path, typer.Option(help="Folder of trainings.")] = Path("runs"),
    num: Annotated[int, typer.Option(min=2, help="Molecules per row.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Key of all noise.")] = 4,
    train: Annotated[Path | None, typer.Option(help="Training molecules, for novelty.")] = None,
    checked: Annotated[int, typer.Option("--sample", min=0, help="Molecules given to PoseBusters.")] = 300,
    work: Annotated[Path, typer.Option(help="Keeps the files of each row.")] = Path("runs/methods"),
) -> None:
    """Measure the missing rows, and print the tables."""
    tune_cpu(1)
    rows, heads = Table(runs, work, num, seed, train, checked), [*FACTS, *titles(), *COSTS]
    typer.echo(heading(heads))
    for method in METHODS:
        typer.echo(line(rows.row(method)))
    theirs = ["theirs (published)", "stable atoms %", "stable %", "valid %", "V×U %"]
    typer.echo(f"\n{markdown.table([theirs, *map(list, THEIRS)])}")


if __name__ == "__main__":
    with report_user_errors("methods"):
        typer.run(main)
