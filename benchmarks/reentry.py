"""Where on its way down does a checkpoint lose molecules? Real ones are noised to a level and denoised again.

    python benchmarks/reentry.py qm9-deep runs/mine --data qm9.npz

A row is of held-out molecules with their own sizes, the same ones with the same noise in all rows. They enter the grid
of the checkpoint's sampler at the row's level, all atoms at once; what a row has less than the one above is lost
between the two levels. Level 0 is the molecules themselves, T is sampling from nothing but noise.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.common.intervals import wilson
from ead_core.config import parse_overrides
from ead_core.data.batching import TrainingBatches
from ead_core.data.dataset import resolve_data_path, split_indices
from ead_core.data.formats import read_molecules
from ead_core.data.store import MoleculeSet
from ead_core.errors import ConfigError, report_user_errors
from ead_core.evaluation.smiles import smiles_of
from ead_core.evaluation.stability import stability
from ead_core.sampling.generation import complete
from ead_core.sampling.reentry import noised, process_below

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.55, 1.0)  # of T


@torch.inference_mode()
def reenter(model: Checkpoint, molecules: MoleculeSet, level: int, seed: int = 0) -> MoleculeSet:
    """The molecules after noise up to `level` and the checkpoint's own sampler from there down.

    Args:
        model: a checkpoint; what it can be asked for is left open.
        molecules: of elements that it knows.
        level: 0 … T; from 0 they come back as they are.
        seed: of the noise, whose ids are the molecules' numbers.

    Raises:
        ConfigError: a level that the checkpoint has not, or a checkpoint that decides sizes by itself.
        DataError: an element that it does not know.
    """
    if not 0 <= level <= model.config.diffusion.steps:
        raise ConfigError(f"a level must be between 0 and the {model.config.diffusion.steps} of training, not {level}.")
    if level == 0:
        return replace(molecules, properties={"nfe": np.zeros(len(molecules))})
    process = process_below(model, model.config.sampler, level, int(molecules.num_atoms.max()))
    batch = TrainingBatches(molecules, model.atom_types, len(molecules), seed).gather(range(len(molecules)))
    ids = torch.arange(len(molecules))
    return complete(model, noised(model, batch, process, torch.full_like(ids, seed), ids), process)


def row(model: Checkpoint, molecules: MoleculeSet, level: int, seed: int) -> str:
    """A line of the table."""
    with progress_bar(f"{model.name} from {level}", len(molecules)) as progress:
        made = reenter(model, molecules, level, seed)
        progress(len(made))
    stable, valid = stability(made).stable, np.array([text is not None for text in smiles_of(made)])
    cells = [model.name, level, percent(stable), percent(valid), f"{made.properties['nfe'].mean():.0f}"]
    return f"| {' | '.join(map(str, cells))} |"


def percent(hits: np.ndarray) -> str:
    low, high = wilson(int(hits.sum()), len(hits))
    return f"{100 * hits.mean():.1f} ({100 * low:.1f}–{100 * high:.1f})"


def main(
    checkpoints: Annotated[list[str], typer.Argument(help="Names or folders.")],
    data: Annotated[Path, typer.Option(help="The data set of training; its validation part is used.")],
    num: Annotated[int, typer.Option(min=1, help="Molecules per row.")] = 360,
    share: Annotated[list[float] | None, typer.Option(min=0, max=1, help="A level as a share of T.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Key of all noise, and of the choice of molecules.")] = 0,
    change: Annotated[list[str] | None, typer.Option("--set", help="sampler.key=value, for all rows.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch.")] = None,
) -> None:
    """Print a table, a row per checkpoint and level."""
    tune_cpu(threads)
    molecules = read_molecules(resolve_data_path(str(data))).molecules
    held_out = molecules.select(split_indices(molecules).valid)
    chosen = held_out.select(np.random.default_rng(seed).permutation(len(held_out))[:num])
    print("| checkpoint | from level | stable % | valid % | network calls |\n" + "|---" * 5 + "|")
    for name in checkpoints:
        model = load_checkpoint(name)
        model = replace(model, config=model.config.override(parse_overrides(change or [])))
        for level in [round(part * model.config.diffusion.steps) for part in share or SHARES]:
            print(row(model, chosen, level, seed), flush=True)


if __name__ == "__main__":
    with report_user_errors("reentry"):
        typer.run(main)
