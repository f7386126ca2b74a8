"""`ead draw`: a picture of the molecules of a file."""

from pathlib import Path
from typing import Annotated

import typer


def draw(
    file: Annotated[Path, typer.Argument(help="Molecules: .sdf, .sdf.gz, .xyz, .npz or .parquet.")],
    out: Annotated[Path, typer.Option(help="Picture: .png, .svg or .pdf.")],
    num: Annotated[int, typer.Option(min=1, help="How many, from the start of the file.")] = 12,
    columns: Annotated[int, typer.Option(min=1, help="Molecules per row.")] = 6,
) -> None:
    """Draw molecules, each marked as stable or not."""
    from ead_core.data.formats import read_molecules
    from ead_core.data.losses import Losses
    from ead_core.pictures.molecules import check_picture, draw_molecules

    check_picture(out)
    report = read_molecules(file)
    molecules = report.molecules
    Losses([report]).tell()
    draw_molecules(molecules.select(range(min(num, len(molecules)))), out, columns)
    typer.echo(f"{out}", err=True)
