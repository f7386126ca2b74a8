"""What repair makes of a checkpoint's broken molecules: a front of level, extent and hops, beside drawing anew.

    python benchmarks/repair.py qm9-deep --num 400 --set sampler.policy=synchronous

All rows begin with the same molecules, and repair those that are not stable by the published protocol. Whole repair at
T leaves nothing of a molecule but its size: that row is drawing anew. A result is a selection with partial restarts, so
what tells of the distribution stands beside stability: distinct valid molecules, carbon's share of the heavy atoms, and
rings per molecule by the published bond table.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rdkit import Chem

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.chemistry.bare_molecules import molecule_by_table
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.common.intervals import wilson
from ead_core.config import SamplerConfig, parse_overrides
from ead_core.data.store import MoleculeSet, load_npz, save_npz
from ead_core.errors import report_user_errors
from ead_core.evaluation.acceptance import accepted
from ead_core.evaluation.criteria import Acceptance
from ead_core.evaluation.smiles import smiles_of
from ead_core.sampling.generation import fulfil
from ead_core.sampling.repair_rounds import Repaired, repair
from ead_core.sampling.requests import Request, sampler_config

COLUMNS = (
    *("repair", "level", "atoms freed", "mended in round 1 %", "mended in all %", "calls per repair"),
    *("stable %", "calls per molecule", "calls per stable molecule", "V×U %", "C of heavy atoms", "rings"),
)


def settings(extents: list[str], levels: list[float], hops: list[int], rounds: int) -> Iterator[dict[str, Any]]:
    """The sampler's keys of each row, drawing anew last."""
    for extent in extents:
        for reach in hops if extent == "local" else [None]:
            for level in levels:
                own = {"repair_attempts": rounds, "repair_level": level, "repair_extent": extent}
                yield own if reach is None else {**own, "repair_hops": reach}
    yield {"repair_attempts": rounds, "repair_level": 1.0, "repair_extent": "whole"}


def carbon_share(molecules: MoleculeSet) -> float:
    """Of the heavy atoms."""
    heavy = molecules.charges[molecules.charges > 1]
    return float((heavy == 6).mean())


def rings(molecules: MoleculeSet) -> float:
    """Mean number of independent cycles of bonds."""
    mols = [molecule_by_table(molecule.charges, molecule.positions) for molecule in molecules]
    return float(np.mean([m.GetNumBonds() - m.GetNumAtoms() + len(Chem.GetMolFrags(m)) for m in mols]))


def percent(hits: int, total: int) -> str:
    low, high = wilson(hits, total)
    return f"{100 * hits / total:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def quality(molecules: MoleculeSet, stable: np.ndarray) -> list[str]:
    """The columns that all rows have."""
    calls, distinct = molecules.properties["nfe"], {text for text in smiles_of(molecules) if text is not None}
    costs = [f"{calls.mean():.1f}", f"{calls.sum() / max(stable.sum(), 1):.1f}"]
    rest = [f"{100 * len(distinct) / len(molecules):.1f}", f"{carbon_share(molecules):.3f}", f"{rings(molecules):.2f}"]
    return [percent(int(stable.sum()), len(molecules)), *costs, *rest]


def row(given: MoleculeSet, result: Repaired, config: SamplerConfig, good: Callable[[MoleculeSet], np.ndarray]) -> str:
    """A line of the table."""
    tried, rounds = result.tried, result.molecules.properties["repaired"]
    attempts = np.where(rounds > 0, rounds, config.repairs)[tried]
    extra = (result.molecules.properties["nfe"] - given.properties["nfe"])[tried]
    local = config.repair_extent == "local"
    freed = np.mean([atoms.sum() for atoms, was in zip(result.freed, tried, strict=True) if was])
    cells = [
        f"local, hops {config.repair_hops}" if local else "drawn anew" if config.repair_level == 1 else "whole",
        f"{config.repair_level:g} T",
        f"{freed:.1f}",
        percent(int((rounds == 1).sum()), int(tried.sum())),
        percent(int(result.mended.sum()), int(tried.sum())),
        f"{extra.sum() / attempts.sum():.1f}",
        *quality(result.molecules, good(result.molecules)),
    ]
    return f"| {' | '.join(cells)} |"


def begin(model: Checkpoint, num: int, seed: int, kept: Path | None) -> MoleculeSet:
    """The molecules that all rows begin with; read from a file that an earlier call has kept, if there is one."""
    if kept and kept.is_file():
        return load_npz(kept)
    with progress_bar("sampling", num) as progress:
        molecules = fulfil(model, Request(num, model.config.sampler, seed), progress)
    if kept:
        save_npz(molecules, kept)
    return molecules


def main(  # noqa: PLR0913 (the axes of the front, and what they share)
    checkpoint: Annotated[str, typer.Argument(help="Name or folder.")] = "qm9-deep",
    *,
    num: Annotated[int, typer.Option(min=1, help="Molecules.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Key of all noise.")] = 0,
    extent: Annotated[list[str] | None, typer.Option(help="whole or local; both if none is given.")] = None,
    level: Annotated[list[float] | None, typer.Option(help="Shares of T; 0.2, 0.3 and 0.4 if none is given.")] = None,
    hops: Annotated[list[int] | None, typer.Option(help="Of local repair; 1 and 2 if none is given.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Most repairs of a molecule.")] = 2,
    until: Annotated[str, typer.Option(help="What is repaired until it is so: stable or valid.")] = "stable",
    change: Annotated[list[str] | None, typer.Option("--set", help="sampler.key=value, for all rows.")] = None,
    kept: Annotated[Path | None, typer.Option(help=".npz that keeps the first molecules for another call.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch.")] = 1,
) -> None:
    """Print a table, a row per way of repairing."""
    tune_cpu(threads)
    model = load_checkpoint(checkpoint)
    model = replace(model, config=model.config.override(parse_overrides(change or [])))
    given, good = begin(model, num, seed, kept), partial(accepted, acceptance=Acceptance.parse(until))
    fine = good(given)
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    print(f"| {' | '.join(['before', *[''] * 5, *quality(given, fine)])} |", flush=True)
    for own in settings(extent or ["whole", "local"], level or [0.2, 0.3, 0.4], hops or [1, 2], rounds):
        config = sampler_config(model, own)
        with progress_bar(" ".join(map(str, own.values())), rounds * int((~fine).sum())) as progress:
            result = repair(model, given, config, good, ~fine, seed, progress)
        print(row(given, result, config, good), flush=True)


if __name__ == "__main__":
    with report_user_errors("repair"):
        typer.run(main)
