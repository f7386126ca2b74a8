"""Does the adaptive schedule work? Schedules and their controls on the same molecules, from the same noise.

    python benchmarks/schedules.py qm9-deep --num 1000

All levels of training, atoms as far apart as in training, and first-order steps, as in the paper; other settings of the
sampler may be given. The synchronous prefix is computed once and shared. Finished rows, and finished buckets of the
others, are files in the work folder, so that the command can be stopped at any time and goes on where it was. At the
end the tables are written between two marks of the document, whose other text is people's, and the pictures beside it;
`--report-only` does that with the rows there are.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from ead_platform.sweep.study import Campaign
from kept import kept
from schedules_observed import advance_rates
from schedules_rates import RATE, matched_rates
from schedules_report import write_report
from schedules_rows import SYNCHRONOUS, Row, detail_rows, main_rows, ratio_rows, window_rows
from schedules_work import Rows, run_row, save_seen, shared_prefix

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.common.files import write_aside
from ead_core.config import parse_overrides, sampler_settings
from ead_core.data.store import save_npz
from ead_core.errors import ConfigError, report_user_errors

PAPER = {"sampler.steps": None, "sampler.solver": "ancestral", "sampler.interval": None}
TABLES = {"main": main_rows, "window": window_rows, "ratio": ratio_rows, "detail": detail_rows}


def measure(campaign: Campaign, prefix: Mapping[Path, Rows], row: Row, count: int, folder: Path, cores: int) -> None:
    """Run a row and keep it: molecules, observations, and last of all its settings and rates."""
    settings, parts = dict(row.settings), folder / f"{row.name}.parts"
    parts.mkdir(exist_ok=True)
    if row.like is not None:
        measured = json.loads((folder / f"{row.like}.json").read_text())
        settings[RATE] = kept(parts / "rates.json", lambda: matched_rates(campaign, settings, measured))
    molecules, seen = run_row(campaign, prefix, row, settings, count, parts, cores)
    save_npz(molecules, folder / f"{row.name}.npz")
    save_seen(seen, folder / f"{row.name}.seen.npz")
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
    cells: Annotated[int, typer.Option(min=2, help="Molecules per window and ratio, at most --num.")] = 1000,
    seed: Annotated[int, typer.Option(help="Key of all noise.")] = 0,
    cores: Annotated[int, typer.Option(min=1, help="Processes at once.")] = 1,
    work: Annotated[Path, typer.Option(help="Keeps prefix and rows.")] = Path("runs/schedules"),
    report: Annotated[Path, typer.Option(help="The document with the marks.")] = Path("docs/results/schedules.md"),
    only: Annotated[
        list[str] | None, typer.Option(help="A table (main, window, ratio, detail) or a row; may be repeated.")
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
        indices = {0, *(campaign.branch_index(row.settings) for row in every.values())}
        prefix = shared_prefix(campaign, indices, work / "prefix", cores)
        planned = [(row, num if key == "main" else cells) for key, rows in tables.items() for row in rows]
        for number, (row, count) in enumerate(planned, start=1):
            if not (folder / f"{row.name}.json").is_file():
                measure(campaign, prefix, row, count, folder, cores)
            typer.echo(f"{row.name} is finished, {number} of {len(planned)} rows", err=True)
    write_report(tables, folder, report, model.name)


if __name__ == "__main__":
    with report_user_errors("schedules"):
        typer.run(main)
