"""What random frames are worth: a transformer trained without, with uniform ones, and with learned ones of two orders.

    python benchmarks/symdiff.py --size tiny --steps 800 --num 256       # 20 minutes on one core
    python benchmarks/symdiff.py --steps 20000 --num 1000                # configs/qm9_symdiff_small.yaml, days

Everything else is equal: recipe, batches and noise of a seed, held-out molecules and their noise, and the noise of the
sampled molecules. The loss is measured on held-out molecules as they lie in the file, and turned at random; only for
arms that are not equivariant in law may the two differ by more than chance. What is finished is kept in the work
folder, and trainings are resumed there: the command can be stopped at any time.

How far a learned frame is decided by the molecule is ‖E Γ‖² / 3 over draws: 0 if all frames are equally likely, 1 if
every draw gives the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from held_out_loss import by_band, head, losses, row
from kept import kept
from trainings import trained

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.common.cpu import tune_cpu
from ead_core.common.intervals import wilson
from ead_core.common.noise import Stream, uniforms
from ead_core.config import Config, load_config, parse_overrides
from ead_core.data.batching import TrainingBatches
from ead_core.data.store import MoleculeSet
from ead_core.diffusion.corruption import corrupt
from ead_core.diffusion.gauge import GAUGES
from ead_core.errors import report_user_errors
from ead_core.evaluation.stability import stability
from ead_core.networks.symmetrised import TURN_DRAWS, Symmetrised, haar
from ead_core.sampling.generation import sample
from ead_core.training.session import Session, prepare

BATCH, DRAWS = 64, 200
LEVELS = (0.02, 0.2, 0.5)  # of t/T, at which frames are looked at
RECIPE = Path(__file__).parents[1] / "configs" / "qm9_symdiff_small.yaml"
ARMS: dict[str, Mapping[str, Any]] = {
    "none": {"network.symmetrise": "none"},
    "haar": {"network.symmetrise": "haar"},
    "learned, released": {"network.symmetrise": "learned", "network.compose": "released"},
    "learned, corrected": {"network.symmetrise": "learned", "network.compose": "corrected"},
}
SIZES: dict[str, Mapping[str, Any]] = {
    "small": {},
    "tiny": {
        "network.hidden_features": 64,
        "network.layers": 4,
        "network.heads": 4,
        "network.edge_features": 32,
        "network.frame_features": 32,
        "network.frame_layers": 2,
        "network.frame_heads": 4,
    },
}


@dataclass(frozen=True)
class Figures:
    """What is measured of a trained arm: losses by band, of molecules as they are and turned, and of samples."""

    parameters: int
    cpu_seconds: float
    held_out: list[float]
    turned: list[float]
    stable_atoms: int
    atoms: int
    stable: int
    molecules: int
    decided: list[float]


def randomly_turned(molecules: MoleculeSet) -> MoleculeSet:
    """Each molecule turned, or reflected, on its own."""
    ids = torch.arange(len(molecules))
    frames = haar(uniforms(0, ids, 0, Stream.NETWORK, TURN_DRAWS, torch.float32)).numpy()
    of_atom = np.repeat(frames, molecules.num_atoms, axis=0)
    positions = np.einsum("ai,aij->aj", molecules.positions, of_atom).astype(np.float32)
    return MoleculeSet(molecules.num_atoms, molecules.charges, positions)


def measured(config: Config, session: Session, folder: Path, batches: int, num: int) -> dict[str, Any]:
    """Train an arm and measure it: `Figures` by name."""
    spent = trained(config, session, folder)
    model = load_checkpoint(folder)
    made = stability(sample(model, num, seed=1, threads=1))
    figures = Figures(
        parameters=sum(parameter.numel() for parameter in model.denoiser.parameters()),
        cpu_seconds=spent,
        held_out=by_band(*losses(model, session.valid, batches)),
        turned=by_band(*losses(model, randomly_turned(session.valid), batches)),
        stable_atoms=int(made.stable_atoms.sum()),
        atoms=int(made.num_atoms.sum()),
        stable=int(made.stable.sum()),
        molecules=num,
        decided=decided(model, session.valid),
    )
    return vars(figures)


@torch.inference_mode()
def decided(model: Checkpoint, molecules: MoleculeSet) -> list[float]:
    """How far frames are decided by the molecule, at every one of LEVELS: means over a batch, without bias."""
    batch, generator = TrainingBatches(molecules, model.atom_types, BATCH, seed=0).batch(0), torch.Generator()
    network, gauge, found = model.denoiser.network, GAUGES["z"](model.schedule), []
    if not isinstance(network, Symmetrised):
        return [1.0] * len(LEVELS)
    for share in LEVELS:
        levels = torch.full(batch.mask.shape, round(share * model.config.diffusion.steps))
        noised = corrupt(batch.state(model.atom_types), levels, batch.mask, gauge, generator.manual_seed(0))
        total = torch.zeros(len(levels), 3, 3)
        for _ in range(DRAWS):
            draws = torch.rand((len(levels), network.frames.num_draws), generator=generator)
            time = levels.float() / model.config.diffusion.steps
            total += network.frames(noised.z[..., :3], time, batch.mask, draws)
        share_of_mean = (total / DRAWS).square().sum(dim=(1, 2)).mean() / 3
        found.append(float((share_of_mean - 1 / DRAWS) / (1 - 1 / DRAWS)))
    return found


def tables(rows: Mapping[str, Figures]) -> Iterator[str]:
    """The lines of the three tables."""
    for title, bands in (("as they lie in the file", "held_out"), ("turned at random", "turned")):
        yield f"\nLoss on held-out molecules, {title}:\n"
        yield head()
        yield from (row(name, getattr(figures, bands)) for name, figures in rows.items())
    yield "\nSampled molecules:\n"
    yield "| arm | parameters | CPU s of training | stable atoms % | stable molecules % | frame decided at t/T |"
    yield "|---|---|---|---|---|---|"
    for name, figures in rows.items():
        low, high = (100 * end for end in wilson(figures.stable, figures.molecules))
        frames = (f"{share:g}: {max(value, 0):.2f}" for share, value in zip(LEVELS, figures.decided, strict=True))
        yield (
            f"| {name} | {figures.parameters:,} | {figures.cpu_seconds:.0f} | "
            f"{100 * figures.stable_atoms / figures.atoms:.1f} | "
            f"{100 * figures.stable / figures.molecules:.1f} ({low:.1f}–{high:.1f}) | "
            f"{', '.join(frames)} |"
        )


def main(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="section.key=value … of the recipe, for all arms.")
    ] = None,
    *,
    size: Annotated[str, typer.Option(help=f"One of {', '.join(SIZES)}.")] = "small",
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of each training.")] = 20_000,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per arm.")] = 2,
    batches: Annotated[int, typer.Option(min=1, help="Of 64 held-out molecules.")] = 40,
    num: Annotated[int, typer.Option(min=1, help="Molecules to sample per training.")] = 1000,
    work: Annotated[Path, typer.Option(help="Keeps trainings and figures.")] = Path("runs/symdiff"),
) -> None:
    """Train and measure what is missing, then print the tables."""
    if size not in SIZES:
        raise typer.BadParameter(f"must be one of {', '.join(SIZES)}", param_hint="--size")
    tune_cpu(1)
    common = {**SIZES[size], "training.steps": steps, "training.warmup_steps": steps // 20}
    recipe = load_config(RECIPE).override({**common, **parse_overrides(overrides or [])})
    session, rows = prepare(recipe), {}
    for seed in range(seeds):
        for arm, changes in ARMS.items():
            folder = work / f"{size}-{steps}" / f"{arm.replace(', ', '-')}-{seed}"
            file = folder / f"figures-{batches}-{num}.json"
            config = recipe.override({**changes, "training.seed": seed})
            found = kept(file, partial(measured, config, session, folder, batches, num))
            rows[f"{arm}, seed {seed}"] = Figures(**found)
            print(f"{arm}, seed {seed}: done", flush=True)
    print("\n".join(tables(rows)))


if __name__ == "__main__":
    with report_user_errors("symdiff"):
        typer.run(main)
