"""What a setting of training does: arms that differ in nothing else, from the same batches and noise.

    python benchmarks/training_arms.py interval --steps 9000 --num 2000        # ten core-hours, resumable
    python benchmarks/training_arms.py forms network.hidden_features=64 network.layers=5 --steps 2000 --num 500
    python benchmarks/training_arms.py dummies network.hidden_features=64 network.layers=5 --steps 2000 --num 500

Recipe, batches and noise of a seed are equal in all arms. The loss is measured on the same held-out molecules with the
same noise, once with equal levels of all atoms and once with levels up to 29 apart; arms with dummies have none, since
their rules are about levels. Molecules are sampled from the same noise in all arms, in the ways that they have learnt.

The question of `interval` was fixed before: does C = 29 differ from C = 0 in stable molecules, sampled synchronously,
by 2 points or more, in both seeds? The other two ask what settings are worth that had never been measured. What is
finished is kept in the work folder, and trainings are resumed there.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from held_out_loss import by_band, head, losses, row
from kept import kept
from quality_figures import QUICK_PARTS, cells, heading, line, measured, titles
from trainings import trained

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.config import load_config, parse_overrides
from ead_core.data.store import MoleculeSet, load_npz, save_npz
from ead_core.errors import ConfigError, report_user_errors
from ead_core.evaluation.card import Evaluated
from ead_core.evaluation.compare import differences
from ead_core.evaluation.published import evaluate_published
from ead_core.evaluation.run import EvaluationPlan
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
SAMPLER = {"steps": 100, "grid": "quadratic", "solver": "ancestral"}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "synchronous": {"policy": "synchronous"},
    "corrector": {"policy": "synchronous", "corrector": 0.5},
    "adaptive": {"policy": "adaptive"},
}
SPREADS = (0, 29)


class Question(NamedTuple):
    """Arms that are compared.

    Attributes:
        arms: settings by name; the others are compared to the first.
        ways: of sampling.
        spreads: how far apart levels are when the loss on held-out molecules is measured.
    """

    arms: Mapping[str, Mapping[str, Any]]
    ways: Sequence[str]
    spreads: Sequence[int] = SPREADS


DUMMIES = {"diffusion.size_mode": "dummy"}
QUESTIONS = {
    "interval": Question(
        {
            "C = 0": {"diffusion.interval": 0},
            "C = 9": {"diffusion.interval": 9},
            "C = 29": {"diffusion.interval": 29},
            "C = 29, scaled": {"diffusion.interval": 29, "diffusion.offset_mode": "scaled"},
        },
        tuple(WAYS),
    ),
    "forms": Question(
        {
            "as the recipe": {},
            "gauge y": {"diffusion.gauge": "y"},
            "causal messages": {"network.messages": "causal"},
            "scaled offsets": {"diffusion.offset_mode": "scaled"},
        },
        ("synchronous", "adaptive"),
    ),
    "dummies": Question(
        {rule: {**DUMMIES, "diffusion.dummy_rule": rule} for rule in ("half", "upper", "top", "late")},
        ("synchronous", "adaptive"),
        (),
    ),
}


class Arm:
    """A training and what it makes.

    Args:
        changes: settings of the arm.
        folder: of its training.
    """

    def __init__(self, changes: Mapping[str, Any], folder: Path) -> None:
        self.changes, self.folder = changes, folder

    def samples(self, way: str) -> bool:
        """Whether it is sampled in a way: with unequal levels only if it has seen such."""
        return way != "adaptive" or self.changes.get("diffusion.interval") != 0

    def held_out(self, session: Session, batches: int, spread: int) -> list[float]:
        """Losses by band of levels."""
        model = load_checkpoint(self.folder)
        levels = model.config.diffusion.model_copy(update={"interval": spread, "offset_mode": "uniform"})
        bands: list[float] = by_band(*losses(model, session.valid, batches, levels))
        return bands

    def made(self, way: str, num: int) -> MoleculeSet:
        """The molecules of a way; from their file if there is one."""
        file = self.folder / f"{way}-{num}.npz"
        if not file.is_file():
            with progress_bar(f"{self.folder.name} {way}", num) as progress:
                model = load_checkpoint(self.folder)
                save_npz(sample(model, num, seed=1, progress=progress, **{**SAMPLER, **WAYS[way]}), file)
        return load_npz(file)

    def figures(self, way: str, num: int) -> dict[str, Any]:
        """What is measured of the molecules of a way; from its file if there is one."""
        plan = EvaluationPlan(QUICK_PARTS, sample=num, workers=1)
        make = partial(measured, partial(self.made, way, num), None, plan)
        found: dict[str, Any] = kept(self.folder / f"{way}-{num}.json", make)
        return found

    @cache  # noqa: B019  arms live as long as the program
    def published(self, way: str, num: int) -> Evaluated:
        """The published metrics of the molecules of a way, molecule by molecule."""
        return evaluate_published(self.made(way, num), workers=1)


def molecules(arms: Mapping[str, Arm], ways: Sequence[str], num: int) -> Iterator[str]:
    """The table of sampled molecules; differences are to the first arm, sampled in the same way."""
    first = next(iter(arms))
    yield heading(["arm", "sampled", f"stable, difference to {first}", *titles(), "sizes"])
    for name, arm in arms.items():
        for way in filter(arm.samples, ways):
            off, figures = "", arm.figures(way, num)
            if name != first and arms[first].samples(way):
                pair = (each.published(way, num) for each in (arms[first], arm))
                off = differences(*pair)["molecule_stability"].points()
            yield line([name, way, off, *cells(figures), f"{figures['sizes'][0]:.3f}"])


def main(
    question: Annotated[str, typer.Argument(help=f"What is asked: {', '.join(QUESTIONS)}.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value … of the recipe, for all.")] = None,
    *,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of each training.")] = 9000,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per arm.")] = 2,
    batches: Annotated[int, typer.Option(min=1, help="Of 64 held-out molecules.")] = 80,
    num: Annotated[int, typer.Option(min=2, help="Molecules per way of sampling.")] = 2000,
    work: Annotated[Path, typer.Option(help="Keeps trainings and figures.")] = Path("runs/training-arms"),
) -> None:
    """Train and measure what is missing, seed by seed, then print the tables of each."""
    if question not in QUESTIONS:
        raise ConfigError(f"The question must be one of {', '.join(QUESTIONS)}, not {question!r}.")
    tune_cpu(1)
    asked, common = QUESTIONS[question], {**COMMON, "training.steps": steps, "training.warmup_steps": steps // 20}
    recipe = load_config(RECIPE).override({**common, **parse_overrides(overrides or [])})
    session = prepare(recipe)
    for seed in range(seeds):
        arms = {
            name: Arm(changes, work / f"{steps}-{name.replace(', ', '-').replace(' ', '-')}-{seed}")
            for name, changes in asked.arms.items()
        }
        lines: dict[int, list[str]] = {spread: [] for spread in asked.spreads}
        for name, arm in arms.items():
            spent = trained(recipe.override({**arm.changes, "training.seed": seed}), session, arm.folder)
            typer.echo(f"seed {seed}, {name}: trained in {spent:.0f} CPU s")
            for spread, texts in lines.items():
                file = arm.folder / f"held-out-{spread}-{batches}.json"
                texts.append(row(name, kept(file, partial(arm.held_out, session, batches, spread))))
        for spread, texts in lines.items():
            typer.echo(f"\nSeed {seed}: loss on held-out molecules, levels up to {spread} apart\n\n{head()}")
            typer.echo("\n".join(texts))
        typer.echo(f"\nSeed {seed}: {num} molecules each, from the same noise\n")
        for text in molecules(arms, asked.ways, num):
            typer.echo(text)


if __name__ == "__main__":
    with report_user_errors("training_arms"):
        typer.run(main)
