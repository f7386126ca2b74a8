"""What training with levels of their own for atoms does: arms that differ in nothing but the interval of the levels.

    python benchmarks/asynchronous_training.py --steps 9000 --num 2000        # ten core-hours, resumable

Recipe, batches and noise of a seed are equal in all arms. The loss is measured on the same held-out molecules with the
same noise, once with equal levels of all atoms and once with levels up to 29 apart. Molecules are sampled in three
ways, synchronously, with a corrector, and adaptively where the arm has learnt that, from the same noise in all arms.

The question was fixed before: does C = 29 differ from C = 0 in stable molecules, sampled synchronously, by 2 points or
more, in both seeds? What is finished is kept in the work folder, and trainings are resumed there.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from held_out_loss import by_band, head, losses, row
from kept import kept
from quality_figures import heading, line
from trainings import trained

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.config import load_config, parse_overrides
from ead_core.data.store import load_npz, save_npz
from ead_core.errors import report_user_errors
from ead_core.evaluation.card import Evaluated
from ead_core.evaluation.compare import differences
from ead_core.evaluation.published import evaluate_published
from ead_core.sampling.generation import sample
from ead_core.training.session import Session, prepare

RECIPE = Path(__file__).parents[1] / "configs" / "qm9_flagship.yaml"
COMMON: Mapping[str, Any] = {
    "network.hidden_features": 104,
    "network.layers": 9,
    "training.level_focus": 0,
    "training.fragments": 0,
    "training.evaluate_molecules": 0,
}
ARMS: Mapping[str, Mapping[str, Any]] = {
    "C = 0": {"diffusion.interval": 0},
    "C = 9": {"diffusion.interval": 9},
    "C = 29": {"diffusion.interval": 29},
    "C = 29, scaled": {"diffusion.interval": 29, "diffusion.offset_mode": "scaled"},
}
SAMPLER = {"steps": 100, "grid": "quadratic", "solver": "ancestral"}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "synchronous": {"policy": "synchronous"},
    "corrector": {"policy": "synchronous", "corrector": 0.5},
    "adaptive": {"policy": "adaptive"},
}
SPREADS = (0, 29)


class Arm:
    """A training and what it makes.

    Args:
        changes: settings of the arm.
        folder: of its training.
    """

    def __init__(self, changes: Mapping[str, Any], folder: Path) -> None:
        self.changes, self.folder = changes, folder

    @property
    def ways(self) -> list[str]:
        """In which it is sampled; molecules of unequal levels only if it has seen such."""
        return [way for way in WAYS if way != "adaptive" or self.changes["diffusion.interval"]]

    def held_out(self, session: Session, batches: int) -> dict[str, list[float]]:
        """Losses by band of levels, by the spread of levels."""
        model = load_checkpoint(self.folder)
        spread = {
            each: model.config.diffusion.model_copy(update={"interval": each, "offset_mode": "uniform"})
            for each in SPREADS
        }
        found = {each: losses(model, session.valid, batches, diffusion) for each, diffusion in spread.items()}
        return {str(each): by_band(*values) for each, values in found.items()}

    def made(self, way: str, num: int) -> Evaluated:
        """The molecules of a way, measured by the published protocol; from their file if there is one."""
        file = self.folder / f"{way}-{num}.npz"
        if not file.is_file():
            with progress_bar(f"{self.folder.name} {way}", num) as progress:
                model = load_checkpoint(self.folder)
                save_npz(sample(model, num, seed=1, progress=progress, **{**SAMPLER, **WAYS[way]}), file)
        return evaluate_published(load_npz(file), workers=1)


def molecules(arms: Mapping[str, Arm], num: int) -> Iterator[str]:
    """The table of sampled molecules; differences are to the first arm, sampled in the same way."""
    titles = ["arm", "sampled", "stable %", "difference to C = 0", "valid %", "V×U %", "network calls"]
    yield heading(titles)
    first = next(iter(arms.values()))
    for name, arm in arms.items():
        for way in arm.ways:
            found = arm.made(way, num)
            off = ""
            if arm is not first and way in first.ways:
                off = differences(first.made(way, num), found)["molecule_stability"].points()
            figures = found.card.sections["published"]
            shares = [figures[each].percent() for each in ("molecule_stability", "validity", "validity_x_uniqueness")]
            yield line([name, way, shares[0], off, *shares[1:], f"{found.card.figure('nfe').value:.0f}"])


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value … of the recipe, for all.")] = None,
    *,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of each training.")] = 9000,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per arm.")] = 2,
    batches: Annotated[int, typer.Option(min=1, help="Of 64 held-out molecules.")] = 80,
    num: Annotated[int, typer.Option(min=2, help="Molecules per way of sampling.")] = 2000,
    work: Annotated[Path, typer.Option(help="Keeps trainings and figures.")] = Path("runs/asynchronous-training"),
) -> None:
    """Train and measure what is missing, seed by seed, then print the tables of each."""
    tune_cpu(1)
    common = {
        **COMMON,
        "training.steps": steps,
        "training.warmup_steps": steps // 20,
        **parse_overrides(overrides or []),
    }
    recipe = load_config(RECIPE).override(common)
    session = prepare(recipe)
    for seed in range(seeds):
        arms = {
            name: Arm(changes, work / f"{steps}-{name.replace(', ', '-')}-{seed}") for name, changes in ARMS.items()
        }
        lines = {
            each: [f"\nSeed {seed}: loss on held-out molecules, levels up to {each} apart\n", head()]
            for each in SPREADS
        }
        for name, arm in arms.items():
            spent = trained(recipe.override({**arm.changes, "training.seed": seed}), session, arm.folder)
            typer.echo(f"seed {seed}, {name}: trained in {spent:.0f} CPU s")
            bands = kept(arm.folder / f"held-out-{batches}.json", partial(arm.held_out, session, batches))
            for each in SPREADS:
                lines[each].append(row(name, bands[str(each)]))
        typer.echo("\n".join(text for each in SPREADS for text in lines[each]))
        typer.echo(f"\nSeed {seed}: {num} molecules each, from the same noise\n")
        for text in molecules(arms, num):
            typer.echo(text)


if __name__ == "__main__":
    with report_user_errors("asynchronous_training"):
        typer.run(main)
