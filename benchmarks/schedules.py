"""Does the adaptive schedule work? Schedules and their controls on the same molecules, from the same noise.

    python benchmarks/schedules.py qm9-small --num 2000 --cells 1000
    python benchmarks/schedules.py qm9-small sampler.steps=100 sampler.grid=quadratic sampler.group_size=15 \
      --report docs/results/schedules-100.md

The synchronous prefix is computed once and shared. A finished row is a file in the work folder, so that the command can
be stopped at any time and goes on where it was. At the end the tables are written between two marks of the document,
whose other text is people's, and the pictures beside it; `--report-only` does that with the rows there are.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import ray
import torch
import typer
from ead_platform.cluster.session import ray_session
from ead_platform.cluster.settings import Settings
from ead_platform.sweep.study import Bucket, Campaign, shared_prefix
from schedules_observed import Observed, advance_rates, joined
from schedules_report import write_report
from schedules_rows import SYNCHRONOUS, Row, main_rows, ratio_rows, window_rows

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.common.files import write_aside
from ead_core.config import parse_overrides, sampler_settings
from ead_core.data.store import MoleculeSet, save_npz
from ead_core.errors import ConfigError, report_user_errors
from ead_core.sampling.generation import complete
from ead_core.sampling.prefix import Branch

Measured = dict[str, Any]
TABLES = {"main": main_rows, "window": window_rows, "ratio": ratio_rows}


def first_molecules(buckets: Sequence[Bucket], count: int) -> list[Bucket]:
    """The branches of the molecules with the ids 0 … count − 1."""
    kept: list[Bucket] = []
    for bucket in buckets:
        rows = torch.from_numpy(np.flatnonzero(next(iter(bucket.values())).state.ids.numpy() < count))
        if len(rows):
            kept.append({index: Branch(branch.state.select(rows), branch.seconds) for index, branch in bucket.items()})
    return kept


def run_bucket(campaign: Campaign, branches: Bucket, settings: Mapping[str, Any]) -> tuple[MoleculeSet, Measured]:
    """The molecules of a bucket under some settings, and what was seen on the way."""
    tune_cpu(campaign.threads)
    branch, process = branches[campaign.branch_index(settings)], campaign.process(settings)
    observed = Observed(len(process.grid) - 1)
    made = complete(campaign.checkpoint, branch.state, process, observed)
    seconds = made.properties["seconds"] + branch.seconds
    return replace(made, properties={**made.properties, "seconds": seconds}), observed.arrays()


def run_row(campaign: Campaign, buckets: Sequence[Bucket], settings: Mapping[str, Any], name: str) -> Any:
    """Molecules in the order of their ids, and what was seen, with a task of the cluster per bucket."""
    shared, work = ray.put(campaign), ray.remote(run_bucket).options(num_cpus=campaign.threads)
    running = [work.remote(shared, branches, settings) for branches in reversed(buckets)]
    parts = []
    with progress_bar(name, sum(len(next(iter(bucket.values())).state.ids) for bucket in buckets)) as progress:
        while running:
            [done], running = ray.wait(running, num_returns=1)
            parts.append(ray.get(done))
            progress(len(parts[-1][0]))
    made = MoleculeSet.concatenate([molecules for molecules, _ in parts])
    ids = made.properties["id"]
    return made.select(np.argsort(ids)), joined([seen for _, seen in parts], ids, made.num_atoms)


def measure(campaign: Campaign, buckets: Sequence[Bucket], row: Row, count: int, folder: Path) -> None:
    """Run a row and keep it: molecules, observations, and last of all its settings and rates."""
    settings = dict(row.settings)
    if row.like is not None:
        settings |= row.matched(json.loads((folder / f"{row.like}.json").read_text()))
    molecules, seen = run_row(campaign, first_molecules(buckets, count), settings, row.name)
    save_npz(molecules, folder / f"{row.name}.npz")
    with write_aside(folder / f"{row.name}.seen.npz") as aside:
        np.savez_compressed(aside, **seen)
    start = campaign.branch_index(row.settings)
    about = {
        "settings": settings,
        "num": count,
        "nfe_per_molecule": float(molecules.properties["nfe"].mean()),
        "levels": len(campaign.process(settings).grid) - 1,
        "rates": advance_rates(seen, start),
    }
    with write_aside(folder / f"{row.name}.json") as aside:
        aside.write_text(json.dumps(about) + "\n")


def with_sampler(model: Checkpoint, overrides: Sequence[str]) -> Checkpoint:
    """The same weights, with other settings of the sampler beneath those of the rows (ConfigError)."""
    changes = parse_overrides(overrides)
    sampler_settings(changes)
    return replace(model, config=model.config.override(changes))


def chosen(names: Sequence[str]) -> dict[str, list[Row]]:
    """The tables, or single rows of them; with what they are compared to, and what they follow."""
    tables = {key: rows() for key, rows in TABLES.items()}
    known = [*tables, *(row.name for rows in tables.values() for row in rows)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"--only must be one of {', '.join(known)}, not {unknown[0]!r}.")
    wanted = {row.name for key, rows in tables.items() for row in rows if key in names or row.name in names}
    wanted |= {row.like for rows in tables.values() for row in rows if row.name in wanted and row.like}
    return {key: [row for row in rows if row.name in {SYNCHRONOUS, *wanted}] for key, rows in tables.items()}


def main(  # noqa: PLR0913, PLR0917
    checkpoint: Annotated[str, typer.Argument(help="Name or folder.")] = "qm9-small",
    overrides: Annotated[list[str] | None, typer.Argument(help="sampler.key=value for all rows.")] = None,
    num: Annotated[int, typer.Option(min=2, help="Molecules per schedule.")] = 2000,
    cells: Annotated[int, typer.Option(min=2, help="Molecules per cell of the crosses.")] = 1000,
    seed: Annotated[int, typer.Option(help="Key of all noise.")] = 0,
    work: Annotated[Path, typer.Option(help="Keeps prefix and rows.")] = Path("runs/schedules"),
    report: Annotated[Path, typer.Option(help="The document with the marks.")] = Path("docs/results/schedules.md"),
    only: Annotated[
        list[str] | None, typer.Option(help="A table (main, window, ratio) or a row; may be repeated.")
    ] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Measure nothing.")] = False,
) -> None:
    """Measure the missing rows and write the tables."""
    if cells > num:
        raise ConfigError(f"--cells must be at most --num ({num}), not {cells}.")
    model = with_sampler(load_checkpoint(checkpoint), overrides or [])
    campaign = Campaign(model, seed, 0, num, threads=1)
    work /= hashlib.sha256(model.config.sampler.model_dump_json().encode()).hexdigest()[:8]
    folder = work / f"{campaign.fingerprint}-{cells}"
    tables = chosen(only or list(TABLES))
    wanted = [(row, num if key == "main" else cells) for key, rows in tables.items() for row in rows]
    if not report_only:
        folder.mkdir(parents=True, exist_ok=True)
        indices = {campaign.branch_index(row.settings) for row, _ in wanted}
        with ray_session(Settings.from_environment()):
            with progress_bar("shared synchronous prefix", num) as progress:
                buckets = shared_prefix(campaign, indices, work / "prefix", progress)
            for row, count in wanted:
                if not (folder / f"{row.name}.json").is_file():
                    measure(campaign, buckets, row, count, folder)
    write_report(tables, folder, report, model.name)


if __name__ == "__main__":
    with report_user_errors("schedules"):
        typer.run(main)
