"""How fast a model learns elements that it does not know, by how their channels start, as a table of held-out losses.

    python benchmarks/new_elements.py mine.npz

`direction` is what `training.initial` does: the first layer writes an element's channel into a direction of the hidden
features, from which the last one reads it. `written` leaves out the reading, `zero` both.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.common.cpu import tune_cpu
from ead_core.config import Config
from ead_core.data.batching import TrainingBatches
from ead_core.data.dataset import compute_statistics
from ead_core.data.formats import read_molecules
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError, report_user_errors
from ead_core.networks.denoiser import Denoiser
from ead_core.training.ema import Ema
from ead_core.training.held_out import HELD_OUT_LOSS, held_out_check
from ead_core.training.parallel import Workers
from ead_core.training.trainer import Trainer

STARTS = ("zero", "written", "direction")
HELD_OUT = 32  # molecules
CHECKS = (10, 25, 50, 100, 200, 400, 800)
CHANGES = {
    "training.batch_size": 16,
    "training.learning_rate": 1e-3,
    "training.muon_learning_rate": 6e-3,
    "training.warmup_steps": 20,
    "training.decay_fraction": 1.0,
    "training.ema_decay": 0.9,
    "training.level_power": 1.0,
    "training.fragments": 0.0,
    "training.threads": 1,
}


def started(config: Config, molecules: MoleculeSet, start: str) -> Trainer:
    """A trainer whose new elements start in one of three ways."""
    statistics = compute_statistics(molecules, name="", sha256="")
    trainer = Trainer.create(config, statistics, Workers.joined())
    known = load_checkpoint(str(config.training.initial)).atom_types.numbers
    new = [place for place, number in enumerate(trainer.atom_types.numbers) if number not in known]
    if not new:
        raise DataError(f"{config.training.initial} knows all elements of the molecules; take some with others.")
    assert isinstance(trainer.network, Denoiser)
    with torch.no_grad():
        if start != "direction":
            trainer.network.network.output_layer.weight[new] = 0
        if start == "zero":
            trainer.network.network.input_layer.weight[:, new] = 0
    trainer.ema = Ema(trainer.network, config.training.ema_decay)
    return trainer


def losses(trainer: Trainer, train: MoleculeSet, held_out: MoleculeSet, steps: int) -> list[float]:
    """The held-out losses of the averaged weights after 0 and `CHECKS` steps, as far as there are so many."""
    check = held_out_check(trainer.objective, held_out)
    batches = TrainingBatches(train, trainer.atom_types, trainer.config.training.batch_size, 0)
    found = []
    for step in range(steps + 1):
        if step in (0, *CHECKS):
            with trainer.averaged() as averaged:
                found.append(check(averaged, step)[HELD_OUT_LOSS])
        if step < steps:
            trainer.advance(batches.batch(step))
    return found


def main(
    data: Annotated[Path, typer.Argument(help="Molecules, some of elements that the model does not know.")],
    checkpoint: Annotated[str, typer.Option(help="The model.")] = "qm9-small",
    steps: Annotated[int, typer.Option(min=1, help="Of training.")] = 100,
) -> None:
    """Print the table."""
    tune_cpu(1)
    molecules = read_molecules(data).molecules
    held_out, train = np.split(np.arange(len(molecules)), [HELD_OUT])
    base = load_checkpoint(checkpoint).config
    config = base.override({**CHANGES, "training.initial": checkpoint, "training.steps": steps})
    seen = [0, *(check for check in CHECKS if check <= steps)]
    print("| start | " + " | ".join(f"step {step}" for step in seen) + " |\n" + "|---" * (len(seen) + 1) + "|")
    for start in STARTS:
        trainer = started(config, molecules, start)
        row = losses(trainer, molecules.select(train), molecules.select(held_out), steps)
        print(f"| {start} | " + " | ".join(f"{loss:.3f}" for loss in row) + " |", flush=True)


if __name__ == "__main__":
    with report_user_errors("new_elements"):
        typer.run(main)
