"""What repair makes of a checkpoint's broken molecules: a front of level, extent and hops, beside drawing anew.

    python benchmarks/repair.py qm9-deep --num 1000 --set sampler.policy=synchronous
    python benchmarks/repair.py qm9-deep --num 1000 --preset fast --extent whole    # what it adds to restarts

All rows begin with the same molecules, and repair those that are not stable by the published protocol. Whole repair at
T leaves nothing of a molecule but its size: that row is drawing anew. A result is a selection with partial restarts, so
what tells of the distribution stands beside stability. A finished row is a file in the work folder: the command can be
stopped at any time.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from kept import kept
from quality_figures import PARTS, cells, heading, line, measured, percent, titles

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.common.intervals import wilson
from ead_core.config import SamplerConfig, parse_overrides
from ead_core.data.store import MoleculeSet, load_npz, save_npz
from ead_core.errors import report_user_errors
from ead_core.evaluation.acceptance import accepted
from ead_core.evaluation.criteria import Acceptance
from ead_core.evaluation.run import EvaluationPlan
from ead_core.sampling.generation import fulfil
from ead_core.sampling.presets import preset_settings
from ead_core.sampling.repair_rounds import Repaired, repair
from ead_core.sampling.requests import Request, sampler_config

COLUMNS = (
    *("repair", "level", "atoms freed", "mended in round 1 %", "mended in all %", "calls per repair"),
    *("calls per stable molecule", *titles()),
)


def settings(extents: list[str], levels: list[float], hops: list[int], rounds: int) -> Iterator[dict[str, Any]]:
    """The sampler's keys of each row, drawing anew last."""
    for extent in extents:
        for reach in hops if extent == "local" else [None]:
            for level in levels:
                own = {"repair_attempts": rounds, "repair_level": level, "repair_extent": extent}
                yield own if reach is None else {**own, "repair_hops": reach}
    yield {"repair_attempts": rounds, "repair_level": 1.0, "repair_extent": "whole"}


def share(hits: int, total: int) -> str:
    """In percent, with its interval."""
    text: str = percent((hits / total, wilson(hits, total)))
    return text


def mended(given: MoleculeSet, result: Repaired, config: SamplerConfig) -> list[str]:
    """The columns that tell of the repair alone."""
    tried, rounds = result.tried, result.molecules.properties["repaired"]
    attempts = np.where(rounds > 0, rounds, config.repairs)[tried]
    extra = (result.molecules.properties["nfe"] - given.properties["nfe"])[tried]
    local = config.repair_extent == "local"
    freed = np.mean([atoms.sum() for atoms, was in zip(result.freed, tried, strict=True) if was])
    return [
        f"local, hops {config.repair_hops}" if local else "drawn anew" if config.repair_level == 1 else "whole",
        f"{config.repair_level:g} T",
        f"{freed:.1f}",
        share(int((rounds == 1).sum()), int(tried.sum())),
        share(int(result.mended.sum()), int(tried.sum())),
        f"{extra.sum() / attempts.sum():.1f}",
    ]


@dataclass(frozen=True)
class Front:
    """What all rows share: the model, its molecules, who of them is good, and how they are measured."""

    model: Checkpoint
    given: MoleculeSet
    good: Callable[[MoleculeSet], np.ndarray]
    seed: int
    train: Path | None
    plan: EvaluationPlan

    def row(self, own: Mapping[str, Any]) -> list[str]:
        """A line of the table: the molecules as they are where there are no settings of a repair."""
        if not own:
            return ["before", *[""] * 5, *self.quality(self.given)]
        config, broken = sampler_config(self.model, own), ~self.good(self.given)
        with progress_bar(" ".join(map(str, own.values())), config.repairs * int(broken.sum())) as progress:
            result = repair(self.model, self.given, config, self.good, broken, self.seed, progress)
        return [*mended(self.given, result, config), *self.quality(result.molecules)]

    def quality(self, molecules: MoleculeSet) -> list[str]:
        """The columns that all rows have."""
        calls = molecules.properties["nfe"].sum() / max(self.good(molecules).sum(), 1)
        return [f"{calls:.1f}", *cells(measured(lambda: molecules, self.train, self.plan))]


def begin(model: Checkpoint, num: int, seed: int, path: Path) -> MoleculeSet:
    """The molecules that all rows begin with, from their file if there is one."""
    if not path.is_file():
        with progress_bar("sampling", num) as progress:
            save_npz(fulfil(model, Request(num, model.config.sampler, seed), progress), path)
    return load_npz(path)


def main(  # noqa: PLR0913 (the axes of the front, and what they share)
    checkpoint: Annotated[str, typer.Argument(help="Name or folder.")] = "qm9-deep",
    *,
    num: Annotated[int, typer.Option(min=2, help="Molecules.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Key of all noise.")] = 0,
    preset: Annotated[str | None, typer.Option(help="Whose settings all rows have.")] = None,
    extent: Annotated[list[str] | None, typer.Option(help="whole or local; both if none is given.")] = None,
    level: Annotated[list[float] | None, typer.Option(help="Shares of T; 0.2, 0.3 and 0.4 if none is given.")] = None,
    hops: Annotated[list[int] | None, typer.Option(help="Of local repair; 1 and 2 if none is given.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Most repairs of a molecule.")] = 2,
    until: Annotated[str, typer.Option(help="What is repaired until it is so: stable or valid.")] = "stable",
    change: Annotated[list[str] | None, typer.Option("--set", help="sampler.key=value, for all rows.")] = None,
    train: Annotated[Path | None, typer.Option(help="Training molecules, for novelty.")] = None,
    checked: Annotated[int, typer.Option("--sample", min=0, help="Molecules for PoseBusters and strain.")] = 300,
    work: Annotated[Path, typer.Option(help="Keeps the files of each row.")] = Path("runs/repair"),
) -> None:
    """Print a table, a row per way of repairing."""
    tune_cpu(1)
    model = load_checkpoint(checkpoint)
    changes = {**(preset_settings(model, preset) if preset else {}), **parse_overrides(change or [])}
    model = replace(model, config=model.config.override(changes))
    about = [model.fingerprint(), num, seed, rounds, until, str(train), checked, sorted(map(str, changes.items()))]
    folder = work / hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    given, good = begin(model, num, seed, folder / "before.npz"), partial(accepted, acceptance=Acceptance.parse(until))
    front = Front(model, given, good, seed, train, EvaluationPlan((*PARTS, "strain"), checked, workers=1))
    typer.echo(heading(COLUMNS))
    for own in ({}, *settings(extent or ["whole", "local"], level or [0.2, 0.3, 0.4], hops or [1, 2], rounds)):
        name = "-".join(f"{value}" for value in own.values()) or "before"
        typer.echo(line(kept(folder / f"{name}.json", partial(front.row, own))))


if __name__ == "__main__":
    with report_user_errors("repair"):
        typer.run(main)
