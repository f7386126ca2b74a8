"""`ead compare` and `ead relax`: cards side by side, and molecules after relaxation."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ead_core.cli.console import DAY, OVERWRITE, TIME_LIMIT, progress_bar
from ead_core.common.files import check_not_lost
from ead_core.errors import ConfigError, DataError
from ead_core.notes import note, note_all

if TYPE_CHECKING:
    from ead_core.evaluation.card import Evaluated
    from ead_core.evaluation.chunk import Row

MARKDOWN = ".md"
WIDTH = 120  # characters of a line
COMPARED = "card.json or its folder (`ead evaluate --out`), checkpoints, or molecules."
MOLECULES = "relaxed molecules: .sdf, .sdf.gz, .xyz, .npz or .parquet"


def compare(
    cards: Annotated[list[Path], typer.Argument(help=COMPARED)],
    reference: Annotated[str | None, typer.Option(help="For molecules: as for `ead evaluate`.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table, .md.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
) -> None:
    """Put cards side by side; shares of the same molecules (equal ids and sizes) are compared pair by pair."""
    from ead_core.common.files import check_writable, write_aside
    from ead_core.common.markdown import as_text, table
    from ead_core.evaluation.compare import lacks_tables, side_by_side

    if out:
        if out.suffix.lower() != MARKDOWN:  # which no file of molecules and no card has
            raise ConfigError(f"cannot write {out}: the table must end in {MARKDOWN}.")
        check_writable(out)
    kept = [_kept_cards(path) for path in cards]
    if len(cards) < 2 and not kept[0]:
        raise DataError("a comparison needs at least two cards.")
    with tempfile.TemporaryDirectory() as scratch:
        evaluated = []
        for number, (path, found) in enumerate(zip(cards, kept, strict=True)):
            evaluated += found or [_evaluated([path], reference, workers, Path(scratch, str(number)))]
        rows, unpaired = side_by_side(evaluated), lacks_tables(evaluated)  # reads the tables in the folder
    if out:
        with write_aside(out) as aside:
            aside.write_text(table([[as_text(cell) for cell in row] for row in rows]) + "\n", encoding="utf-8")
    _show(rows)
    if unpaired:
        note(
            "where it says independent, a card has no table of its molecules, as quality.json never has, so that they "
            "are not compared pair by pair; for that, make both sets by `ead sample` with the same --seed and --num, "
            "and compare the folders of `ead evaluate --out`."
        )


def _kept_cards(path: Path) -> "list[Evaluated]":
    """What has been measured already: of an evaluation, or of a checkpoint; nothing for molecules."""
    from ead_core.evaluation.quality_cards import load_cards
    from ead_core.evaluation.report import CARD

    if path.suffix == ".json" or (path / CARD).is_file():
        return load_cards(path)
    if path.is_file() or path.suffix:
        return []
    from ead_core.checkpoints.checkpoint import WEIGHTS, find_checkpoint

    if path.is_dir() and not (path / WEIGHTS).is_file():
        return []
    return load_cards(find_checkpoint(str(path)))


def _evaluated(
    files: list[Path], reference: str | None, workers: int | None, folder: Path, lost: "Sequence[Row]" = ()
) -> "Evaluated":
    """The card of files, with further attempts of which there are no molecules."""
    from ead_core.evaluation.compare import load_evaluated
    from ead_core.evaluation.evaluate import evaluate_files
    from ead_core.evaluation.reference import load_reference
    from ead_core.evaluation.run import EvaluationPlan, count_records

    real = load_reference(reference, workers) if reference else None
    total = count_records(files)
    with progress_bar(f"measuring {files[0].name}", total) as progress:
        evaluate_files(files, folder, EvaluationPlan(workers=workers), real, progress=progress, total=total, lost=lost)
    return load_evaluated(folder)


def _show(rows: list[list[str]]) -> None:
    """The table, in blocks of as many columns as a terminal of `WIDTH` has room for; each begins with the titles."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, block in enumerate(_blocks(widths)):
        if number:
            typer.echo()
        for row in rows:
            if row is rows[0] or any(row[column] for column in block[1:]):
                typer.echo("  ".join(row[column].ljust(widths[column]) for column in block).rstrip())


def _blocks(widths: list[int]) -> list[list[int]]:
    """The columns of each block, of which the first is column 0."""
    blocks = [[0]]
    for column in range(1, len(widths)):
        together = sum(widths[each] + 2 for each in (*blocks[-1], column)) - 2
        if len(blocks[-1]) > 1 and together > WIDTH:
            blocks.append([0])
        blocks[-1].append(column)
    return blocks


def relax(
    files: Annotated[list[Path], typer.Argument(help="Molecules, or folders of them.")],
    out: Annotated[Path, typer.Option(help=MOLECULES)],
    method: Annotated[str, typer.Option(help="mmff (UFF where it lacks parameters) or gfn2.")] = "mmff",
    card: Annotated[Path | None, typer.Option(help="Folder for the cards before and after.")] = None,
    reference: Annotated[str | None, typer.Option(help="With --card: as for `ead evaluate`.")] = None,
    seconds: Annotated[float, typer.Option("--time-limit", min=1, max=DAY, help=TIME_LIMIT)] = 60,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help=OVERWRITE)] = False,
) -> None:
    """Relax molecules, and drop those that are no single molecule, do not come to rest, or become another one."""
    from ead_core.data.formats import check_output, write_molecules
    from ead_core.evaluation.compare import side_by_side
    from ead_core.evaluation.relaxation import FORCE_FIELD, GFN2, relax_files
    from ead_core.evaluation.run import count_records

    check_output(out)
    check_not_lost(out, overwrite)
    if method not in (FORCE_FIELD, GFN2):
        raise ConfigError(f"--method must be {FORCE_FIELD} or {GFN2}, not '{method}'.")
    if method == GFN2:
        from ead_core.evaluation.gfn2 import check_gfn2

        check_gfn2()
    with progress_bar("relaxing", count_records(files)) as progress:
        report = relax_files(files, method, workers, seconds, progress)
    notes = write_molecules(report.molecules, out)
    typer.echo(f"{len(report.molecules):,} of {report.attempts:,} molecules → {out}", err=True)
    for reason, count in report.dropped.most_common():
        typer.echo(f"  {count:>8,}  {reason}", err=True)
    note_all(notes)
    if card:
        before = _evaluated(files, reference, workers, card / "before")
        _show(side_by_side([before, _evaluated([out], reference, workers, card / "after", report.lost)]))
