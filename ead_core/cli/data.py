"""`ead data`: turn molecule files into the project's store, look into them, and build a demo set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from ead_core.cli.console import OVERWRITE, counting_bar
from ead_core.common.files import check_not_lost
from ead_core.notes import note_all

if TYPE_CHECKING:
    from ead_core.data.losses import Losses
    from ead_core.data.records import ReadReport
    from ead_core.data.store import MoleculeSet

SHOWN_SKIPS = 10
MAX_BARS = 30
BAR_WIDTH = 40

data_app = typer.Typer(help="Prepare, inspect and build molecule data.", no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="Output file: .npz, .parquet, .xyz, .sdf or .sdf.gz.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help=OVERWRITE)]


@data_app.command()
def prepare(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="File, or a folder or an archive of files.")],
    out: Out,
    exclude: Annotated[Path | None, typer.Option(help="Text file of GDB9 numbers to leave out.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert molecules (.npz .parquet .sdf .mol .xyz GDB9 .gz .tar.bz2 .zip …), leaving out bad ones."""
    from ead_core.data.formats import check_output, read_molecules

    check_output(out)
    check_not_lost(out, overwrite)
    with counting_bar(f"reading {source.name}") as progress:
        report = read_molecules(source, exclude=exclude, progress=progress)
    _deliver(report, out)


@data_app.command()
def info(
    file: Annotated[Path, typer.Argument(help="Molecules in any format that `prepare` reads.")],
) -> None:
    """Show what a data file holds: sizes, elements, properties."""
    from ead_core.data.formats import read_molecules
    from ead_core.data.losses import Losses
    from ead_core.data.properties import implausible

    with counting_bar(f"reading {file.name}") as progress:
        report = read_molecules(file, progress=progress)
    console = Console()
    for table in (_overview(report, file), _elements(report.molecules), _properties(report.molecules)):
        if table.row_count:
            console.print(table)
    console.print(_sizes(report.molecules))
    for sentence in (*Losses([report]).sentences(), *implausible(report.molecules)):
        console.print(escape(sentence), highlight=False, soft_wrap=True)


@data_app.command()
def demo(
    out: Out,
    num: Annotated[int | None, typer.Option(min=1, help="How many molecules; all by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal molecules.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores by default.")] = None,
    max_atoms: Annotated[int, typer.Option(min=1, help="Largest molecule, with hydrogens.")] = 29,
    overwrite: Overwrite = False,
) -> None:
    """Build real molecules offline from the NCI compounds that come with RDKit (force-field geometries)."""
    from ead_core.common.cpu import available_cores
    from ead_core.data.demo import build_demo
    from ead_core.data.formats import check_output

    check_output(out)
    check_not_lost(out, overwrite)
    with counting_bar("building molecules", num) as progress:
        report = build_demo(num, seed, workers or available_cores(), progress, max_atoms)
    _deliver(report, out)


def _deliver(report: "ReadReport", out: Path) -> None:
    """Write the molecules, and say what became of the others."""
    from ead_core.data.formats import write_molecules
    from ead_core.data.losses import Losses
    from ead_core.data.properties import implausible

    notes = write_molecules(report.molecules, out)
    typer.echo(f"{len(report.molecules):,} molecules → {out}")
    note_all(notes)
    if report.excluded:
        typer.echo(f"{report.excluded:,} molecules left out by the exclusion list")
    losses = Losses([report])
    _list_skipped(report, losses, out.with_name(f"{out.name}.skipped.txt"))
    for sentence in (*losses.misfits(), *implausible(report.molecules)):
        typer.echo(sentence)


def _list_skipped(report: "ReadReport", losses: "Losses", listing: Path) -> None:
    """Say how many records were skipped, why, and which were the first; all of them go into a file."""
    from ead_core.common.files import write_aside

    listing.unlink(missing_ok=True)  # of an earlier run
    if not report.skipped:
        return
    with write_aside(listing) as aside:
        aside.write_text("".join(f"{name}: {reason}\n" for name, reason in report.skipped), encoding="utf-8")
    typer.echo(f"{len(report.skipped):,} bad records skipped, all listed in {listing}:")
    for line in (*losses.kinds(), *(f"{name}: {reason}" for name, reason in report.skipped[:SHOWN_SKIPS])):
        typer.echo(f"  {line}")


def _overview(report: "ReadReport", file: Path) -> Table:
    from ead_core.data.dataset import file_sha256

    sizes = report.molecules.num_atoms
    table = Table("", Column(overflow="fold"), title=escape(str(file)), show_header=False, title_justify="left")
    table.add_row("molecules", f"{len(sizes):,}")
    if report.skipped:
        table.add_row("bad records", f"{len(report.skipped):,}")
    table.add_row("atoms per molecule", f"{sizes.min()} to {sizes.max()}, mean {sizes.mean():.2f}")
    table.add_row("atoms", f"{sizes.sum():,}")
    if file.is_file():
        table.add_row("sha256", file_sha256(file))
    return table


def _elements(molecules: "MoleculeSet") -> Table:
    from ead_core.chemistry.elements import element_symbol

    table = Table("element", *_right("atoms", "share", "in molecules"))
    owner = np.repeat(np.arange(len(molecules)), molecules.num_atoms)
    for number in np.unique(molecules.charges):
        mine = molecules.charges == number
        count, inside = int(mine.sum()), len(np.unique(owner[mine])) / len(molecules)
        table.add_row(element_symbol(number), f"{count:,}", f"{count / len(mine):.1%}", f"{inside:.1%}")
    return table


def _properties(molecules: "MoleculeSet") -> Table:
    from ead_core.data.columns import known_values

    table = Table("property", *_right("known", "lowest", "highest", "distinct"))
    for name, values in molecules.properties.items():
        column = np.asarray(values)
        if column.ndim > 1:
            table.add_row(escape(name), "", "", "", f"array {column.shape[1:]}")
            continue
        known = column[known_values(column)]
        numeric = known.dtype.kind in "biuf"
        bounds = (f"{float(known.min()):.6g}", f"{float(known.max()):.6g}") if numeric and known.size else ("", "")
        table.add_row(escape(name), f"{known.size / column.size:.1%}", *bounds, f"{len(np.unique(known)):,}")
    return table


def _sizes(molecules: "MoleculeSet") -> Table:
    """A bar for each size, or for each range of sizes if there are many."""
    sizes: Any = molecules.num_atoms
    width = -(-int(sizes.max() - sizes.min() + 1) // MAX_BARS)
    counts = np.bincount((sizes - sizes.min()) // width)
    table = Table("atoms", *_right("molecules"), "")
    for step, count in enumerate(counts):
        low = int(sizes.min()) + step * width
        high = min(low + width - 1, int(sizes.max()))
        label = str(low) if low == high else f"{low}–{high}"
        table.add_row(label, f"{count:,}", "█" * round(BAR_WIDTH * count / counts.max()))
    return table


def _right(*headers: str) -> list[Any]:
    return [Column(header, justify="right") for header in headers]
