"""Does the adaptive schedule work? Schedules and their controls on the same molecules, from the same noise.

    python benchmarks/schedules.py qm9-deep --num 1000

All levels of training and first-order steps, as in the paper; other settings of the sampler may be given. The
synchronous prefix is computed once and shared. Finished rows, and finished buckets of the others, are files in the work
folder, so that the command can be stopped at any time and goes on where it was. At the end the tables are written
between two marks of the document, whose other text is people's, and the pictures beside it; `--report-only` does that
with the rows there are.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import ray
import torch
import typer
from ead_platform.cluster.session import ray_session
from ead_platform.cluster.settings import Settings
from ead_platform.sweep.study import Bucket, Campaign, shared_prefix
from kept import kept
from schedules_observed import Observed, advance_rates, joined
from schedules_rates import RATE, matched_rates
from schedules_report import write_report
from schedules_rows import RATIO, SYNCHRONOUS, Row, main_rows, ratio_rows, window_rows
from torch import Tensor

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.common.files import write_aside
from ead_core.config import parse_overrides, sampler_settings
from ead_core.data.store import MoleculeSet, load_npz, save_npz
from ead_core.diffusion.posterior import Solver
from ead_core.diffusion.process import Process
from ead_core.diffusion.schedule import Coefficients, NoiseSchedule
from ead_core.errors import ConfigError, report_user_errors
from ead_core.sampling.generation import complete
from ead_core.sampling.prefix import Branch

PAPER = {"sampler.steps": None, "sampler.solver": "ancestral"}
TABLES = {"main": main_rows, "window": window_rows, "ratio": ratio_rows}


def first_molecules(buckets: Sequence[Bucket], count: int) -> list[Bucket]:
    """The branches of the molecules with the ids 0 … count − 1."""
    kept: list[Bucket] = []
    for bucket in buckets:
        rows = torch.from_numpy(np.flatnonzero(next(iter(bucket.values())).state.ids.numpy() < count))
        if len(rows):
            kept.append({index: Branch(branch.state.select(rows), branch.seconds) for index, branch in bucket.items()})
    return kept


def quieter(factor: float, schedule: NoiseSchedule, t: Tensor, s: Tensor) -> Coefficients:
    """The first-order move, with its noise times a factor where other schedules pause."""
    move = schedule.reverse(t, s)
    return replace(move, noise=torch.where(t <= RATIO * schedule.steps, factor * move.noise, move.noise))


def process_of(campaign: Campaign, row: Row, settings: Mapping[str, Any]) -> Process:
    """How the molecules of a row move."""
    process = campaign.process(settings)
    return process if row.noise == 1 else replace(process, solver=Solver(partial(quieter, row.noise)))


def run_bucket(campaign: Campaign, branches: Bucket, row: Row, settings: Mapping[str, Any], path: Path) -> Path:
    """Keep the molecules of a bucket, and beside them what was seen on the way."""
    tune_cpu(campaign.threads)
    branch, process = branches[campaign.branch_index(settings)], process_of(campaign, row, settings)
    observed = Observed(process.grid)
    made = complete(campaign.checkpoint, branch.state, process, observed)
    seconds = made.properties["seconds"] + branch.seconds
    save_seen(seen_beside(path), observed.arrays())
    save_npz(replace(made, properties={**made.properties, "seconds": seconds}), path)
    return path


def seen_beside(path: Path) -> Path:
    """The file of what was seen of molecules."""
    return path.with_suffix(".seen.npz")


def save_seen(path: Path, seen: Mapping[str, Any]) -> None:
    """Write arrays, whole or not at all."""
    with write_aside(path) as aside:
        np.savez_compressed(aside, **seen)


def load_seen(path: Path) -> dict[str, Any]:
    """Read arrays."""
    with np.load(path) as arrays:
        return dict(arrays)


def run_row(campaign: Campaign, buckets: Sequence[Bucket], row: Row, settings: Mapping[str, Any], parts: Path) -> None:
    """A task of the cluster for each bucket that is not in the folder `parts` yet."""
    shared, work = ray.put(campaign), ray.remote(run_bucket).options(num_cpus=campaign.threads)
    sizes = [len(next(iter(bucket.values())).state.ids) for bucket in buckets]
    paths = [parts.absolute() / f"{number:03d}.npz" for number in range(len(buckets))]
    missing = [number for number, path in enumerate(paths) if not path.is_file()]
    running = {work.remote(shared, buckets[n], row, settings, paths[n]): n for n in reversed(missing)}
    with progress_bar(row.name, sum(sizes)) as progress:
        progress(sum(sizes) - sum(sizes[number] for number in missing))
        while running:
            [done], _ = ray.wait(list(running), num_returns=1)
            ray.get(done)
            progress(sizes[running.pop(done)])


def gathered(parts: Path) -> tuple[MoleculeSet, dict[str, Any]]:
    """Molecules in the order of their ids, and what was seen, from the files of all buckets."""
    paths = sorted(set(parts.glob("*.npz")) - set(parts.glob("*.seen.npz")))
    made = MoleculeSet.concatenate([load_npz(path) for path in paths])
    ids, seen = made.properties["id"], [load_seen(seen_beside(path)) for path in paths]
    return made.select(np.argsort(ids)), joined(seen, ids, made.num_atoms)


def measure(campaign: Campaign, buckets: Sequence[Bucket], row: Row, count: int, folder: Path) -> None:
    """Run a row and keep it: molecules, observations, and last of all its settings and rates."""
    settings, parts = dict(row.settings), folder / f"{row.name}.parts"
    parts.mkdir(exist_ok=True)
    if row.like is not None:
        measured = json.loads((folder / f"{row.like}.json").read_text())
        settings[RATE] = kept(parts / "rates.json", lambda: matched_rates(campaign, settings, measured))
    run_row(campaign, first_molecules(buckets, count), row, settings, parts)
    molecules, seen = gathered(parts)
    save_npz(molecules, folder / f"{row.name}.npz")
    save_seen(folder / f"{row.name}.seen.npz", seen)
    about = {
        "settings": settings,
        "num": count,
        "nfe_per_molecule": float(molecules.properties["nfe"].mean()),
        "rates": advance_rates(seen, campaign.branch_index(row.settings)),
    }
    with write_aside(folder / f"{row.name}.json") as aside:
        aside.write_text(json.dumps(about) + "\n")
    shutil.rmtree(parts)


def with_sampler(model: Checkpoint, overrides: Sequence[str]) -> Checkpoint:
    """The same weights, with the paper's or other settings of the sampler beneath those of the rows (ConfigError)."""
    changes = PAPER | parse_overrides(overrides)
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


def fits(campaign: Campaign, row: Row) -> bool:
    """Whether the grid bears the row; what it is left out for is said."""
    try:
        campaign.process(row.settings)
    except ConfigError as error:
        typer.echo(f"{row.name} is left out: {error}", err=True)
        return False
    return True


def main(  # noqa: PLR0913, PLR0917
    checkpoint: Annotated[str, typer.Argument(help="Name or folder.")] = "qm9-deep",
    overrides: Annotated[list[str] | None, typer.Argument(help="sampler.key=value for all rows.")] = None,
    num: Annotated[int, typer.Option(min=2, help="Molecules per schedule.")] = 1000,
    cells: Annotated[int, typer.Option(min=2, help="Molecules per window and ratio.")] = 1000,
    seed: Annotated[int, typer.Option(help="Key of all noise.")] = 0,
    work: Annotated[Path, typer.Option(help="Keeps prefix and rows.")] = Path("runs/schedules"),
    report: Annotated[Path, typer.Option(help="The document with the marks.")] = Path("docs/results/schedules.md"),
    only: Annotated[
        list[str] | None, typer.Option(help="A table (main, window, ratio) or a row; may be repeated.")
    ] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Measure nothing.")] = False,
) -> None:
    """Measure the missing rows and write the tables."""
    cells = min(cells, num)
    model = with_sampler(load_checkpoint(checkpoint), overrides or [])
    campaign = Campaign(model, seed, 0, num, threads=1)
    work /= hashlib.sha256(model.config.sampler.model_dump_json().encode()).hexdigest()[:8]
    folder = work / f"{campaign.fingerprint}-{cells}"
    wanted = chosen(only or list(TABLES))
    every = {row.name: row for rows in TABLES.values() for row in rows() if fits(campaign, row)}
    tables = {key: [row for row in rows if row.name in every] for key, rows in wanted.items()}
    if not report_only:
        folder.mkdir(parents=True, exist_ok=True)
        # Of all rows, so that the prefix is the same whatever --only says.
        indices = {campaign.branch_index(row.settings) for row in every.values()}
        with ray_session(Settings.from_environment()):
            with progress_bar("shared synchronous prefix", num) as progress:
                buckets = shared_prefix(campaign, indices, work / "prefix", progress)
            for key, row in ((key, row) for key, rows in tables.items() for row in rows):
                if not (folder / f"{row.name}.json").is_file():
                    measure(campaign, buckets, row, num if key == "main" else cells, folder)
    write_report(tables, folder, report, model.name)


if __name__ == "__main__":
    with report_user_errors("schedules"):
        typer.run(main)
