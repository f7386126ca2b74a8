"""`ead predict`: properties of any molecules, with the interval in which they lie."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ead_core.cli.console import OVERWRITE

if TYPE_CHECKING:
    from ead_core.data.store import MoleculeSet
    from ead_core.prediction.predict import Prediction

SHOWN = 20  # molecules in the table on the screen
CSV = ".csv"


def predict(
    file: Annotated[Path, typer.Argument(help="Molecules: .sdf, .sdf.gz, .xyz, .npz or .parquet, or a folder.")],
    predictor: Annotated[str, typer.Option(help="A bundled predictor's name, or a folder.")] = "qm9-judge",
    out: Annotated[
        Path | None, typer.Option(help="All of it: .csv (without atoms), .sdf, .sdf.gz, .xyz, .npz or .parquet.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help=OVERWRITE)] = False,
) -> None:
    """Predict properties of molecules, each with its 95 % interval."""
    from ead_core.common.cpu import tune_cpu
    from ead_core.common.files import check_not_lost
    from ead_core.data.formats import check_output, read_molecules
    from ead_core.data.losses import Losses
    from ead_core.prediction.judge import load_judge
    from ead_core.prediction.predict import predict as predicted
    from ead_core.prediction.predict import with_predictions

    if out is not None:
        check_output(out, CSV)
        check_not_lost(out, overwrite)
    tune_cpu(1)
    judge = load_judge(predictor)
    report = read_molecules(file)
    Losses([report]).tell()
    predictions = predicted(report.molecules, judge)
    typer.echo(table(report.molecules, predictions))
    if out is not None:
        _write(with_predictions(report.molecules, predictions), out)
        typer.echo(f"{len(report.molecules):,} molecules with their properties → {out}", err=True)


def table(molecules: "MoleculeSet", predictions: Mapping[str, "Prediction"]) -> str:
    """Text: a column per property, above them their 95 % intervals, and a row for each of the first molecules."""
    from ead_core.data.properties import unit_of

    names = list(predictions)
    widths = [float((each.high - each.value)[0]) for each in predictions.values()]
    rows = [
        ["molecule", "formula", *(f"{name}, {unit_of(name).symbol}".rstrip(", ") for name in names)],
        ["95 %", "", *(f"± {width:.3g}" for width in widths)],
    ]
    for place, molecule in zip(range(min(SHOWN, len(molecules))), molecules, strict=False):
        values = (f"{predictions[name].value[place]:.4g}" for name in names)
        rows.append([str(molecule.known.get("id", place)), molecule.formula, *values])
    spans = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(span) for cell, span in zip(row, spans, strict=True)) for row in rows]
    left = len(molecules) - SHOWN
    return "\n".join([*lines, *([f"… and {left:,} more; --out writes all"] if left > 0 else [])])


def _write(molecules: "MoleculeSet", out: Path) -> None:
    import pandas as pd

    from ead_core.common.files import write_aside
    from ead_core.data.formats import write_molecules
    from ead_core.notes import note_all

    if out.suffix.lower() != CSV:
        note_all(write_molecules(molecules, out))
        return
    numbers = {name: values for name, values in molecules.properties.items() if values.ndim == 1}
    formulas = {"formula": [molecule.formula for molecule in molecules]}
    with write_aside(out) as aside:
        pd.DataFrame({**formulas, **numbers}).to_csv(aside, index=False)
