"""The loss of checkpoints on held-out molecules by noise level, with equal noise for all, as a table.

    python benchmarks/held_out_loss.py qm9-small runs/mine --data qm9.npz

The sums of an epoch are too coarse to tell checkpoints apart: what matters for stability is the loss at low levels.
"""

from itertools import pairwise
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.common.cpu import tune_cpu
from ead_core.config import DiffusionConfig
from ead_core.data.batching import TrainingBatches
from ead_core.data.dataset import resolve_data_path, split_indices
from ead_core.data.formats import read_molecules
from ead_core.data.store import MoleculeSet
from ead_core.diffusion.corruption import corrupt, draw_levels
from ead_core.diffusion.gauge import GAUGES
from ead_core.diffusion.loss import noise_loss
from ead_core.errors import report_user_errors
from ead_core.networks.inputs import DenoiserInput

EDGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of t/T
POWER = 2.0  # low levels are drawn more often: there the checkpoints differ
BATCH = 64


@torch.inference_mode()
def losses(
    model: Checkpoint, molecules: MoleculeSet, batches: int, levels_as: DiffusionConfig | None = None
) -> tuple[Tensor, Tensor]:
    """Losses and mean relative levels of `batches` times 64 molecules, whose levels are drawn as the model has learnt.

    Or as other settings say, of which only those of the levels matter.
    """
    diffusion, generator = levels_as or model.config.diffusion, torch.Generator().manual_seed(0)
    frames, count = torch.Generator().manual_seed(1), model.denoiser.network.num_draws
    gauge, denoiser = GAUGES[diffusion.gauge](model.schedule), model.noise_predictor("fp32")
    order = TrainingBatches(molecules, model.atom_types, BATCH, seed=0)
    found: list[tuple[Tensor, Tensor]] = []
    for number in range(batches):
        batch = order.batch(number)
        mask = batch.mask
        levels = draw_levels(mask, diffusion, generator, POWER)
        noised = corrupt(batch.state(model.atom_types), levels, mask, gauge, generator)
        draws = torch.rand((len(mask), count), generator=frames) if count else None
        eps = denoiser(DenoiserInput(noised.z, levels, mask, draws=draws))
        predicted = gauge.project_noise(eps, levels, mask)
        relative = (levels * mask).sum(dim=1) / mask.sum(dim=1) / diffusion.steps
        found.append((noise_loss(predicted, noised, mask, torch.ones(mask.shape)), relative))
    loss, level = zip(*found, strict=True)
    return torch.cat(loss), torch.cat(level)


def by_band(loss: Tensor, level: Tensor) -> list[float]:
    """Mean losses by band."""
    return [float(loss[(level >= low) & (level < high)].mean()) for low, high in pairwise((*EDGES[:-1], 1.01))]


def head() -> str:
    """The first two lines of the table."""
    bands = " | ".join(f"{low:g}–{high:g}" for low, high in pairwise(EDGES))
    return f"| t/T | {bands} |\n" + "|---" * len(EDGES) + "|"


def row(name: str, bands: list[float]) -> str:
    """A line of the table."""
    return f"| {name} | " + " | ".join(f"{band:.4f}" for band in bands) + " |"


def main(
    checkpoints: Annotated[list[str], typer.Argument(help="Names or folders.")],
    data: Annotated[Path, typer.Option(help="The data set of training; its validation part is used.")],
    batches: Annotated[int, typer.Option(min=1, help="Of 64 molecules.")] = 80,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch.")] = None,
) -> None:
    """Print the table."""
    tune_cpu(threads)
    molecules = read_molecules(resolve_data_path(str(data))).molecules
    held_out = molecules.select(split_indices(molecules).valid)
    print(head())
    for name in checkpoints:
        print(row(name, by_band(*losses(load_checkpoint(name), held_out, batches))), flush=True)


if __name__ == "__main__":
    with report_user_errors("held_out_loss"):
        typer.run(main)
