"""What errors mean: how far off somebody is who knows nothing, or only the number of atoms or the composition.

    python benchmarks/control_baselines.py --data qm9.npz

A *generator* that knows the number of atoms makes a random molecule of the right size: the mean |difference| of two
molecules that share it, as if targets were shuffled among molecules of a size. A *predictor* that knows it says the
median of these molecules; this is the row "#Atoms" of the literature. A conditional generator is given sizes that fit
its targets, so that its zero is the first of the two.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from ead_core.data.dataset import resolve_data_path
from ead_core.data.formats import read_molecules
from ead_core.data.properties import UNITS, count_atoms, property_values, unit_of
from ead_core.data.store import MoleculeSet
from ead_core.errors import report_user_errors
from ead_core.prediction.judge import load_judge

Values = NDArray[np.float64]


def mean_difference(values: Values) -> float:
    """Mean |a − b| over all pairs of different members of `values` [n ≥ 2], from their order."""
    n = len(values)
    ranks = 2 * np.arange(n) - n + 1
    return float(2 * (ranks * np.sort(values)).sum() / (n * (n - 1)))


def median_error(values: Values) -> float:
    """Mean |a − median|."""
    return float(np.abs(values - np.median(values)).mean())


def within_groups(values: Values, groups: NDArray[np.int64], error: Callable[[Values], float]) -> float:
    """The mean over molecules of the error within each one's group; those alone in theirs do not count."""
    order = np.argsort(groups, kind="stable")
    parts = np.split(values[order], np.flatnonzero(np.diff(groups[order])) + 1)
    parts = [part for part in parts if len(part) > 1]
    return float(np.average([error(part) for part in parts], weights=[len(part) for part in parts]))


def groups_of(molecules: MoleculeSet) -> dict[str, NDArray[np.int64]]:
    """By name, a number per molecule [M] that those share who are alike."""
    counts = np.stack([count_atoms(molecules, number) for number in np.unique(molecules.charges)], axis=1)
    composition = np.unique(counts, axis=0, return_inverse=True)[1].ravel()
    nothing = np.zeros(len(molecules), dtype=np.int64)
    return {"nothing": nothing, "the number of atoms": molecules.num_atoms, "the composition": composition}


def main(
    data: Annotated[Path, typer.Option(help="Molecules with properties, e.g. qm9.npz.")],
    judge: Annotated[str, typer.Option(help="Whose own error on held-out molecules is the last row.")] = "qm9-judge",
) -> None:
    """Print the table, in the units of the literature."""
    molecules = read_molecules(resolve_data_path(str(data))).molecules
    known = {name: property_values(molecules, name) for name in UNITS}
    rows = ("alpha", "gap", "homo", "lumo", "mu", "Cv")
    typer.echo("| known | who | " + " | ".join(f"{name}, {unit_of(name).symbol}" for name in rows) + " |")
    typer.echo("|---" * (2 + len(rows)) + "|")
    for what, groups in groups_of(molecules).items():
        for who, error in (("generator", mean_difference), ("predictor", median_error)):
            cells = [
                within_groups(values[labelled], groups[labelled], error)
                for values, labelled in ((known[name], np.isfinite(known[name])) for name in rows)
            ]
            typer.echo(f"| {what} | {who} | " + " | ".join(f"{cell:.4g}" for cell in cells) + " |")
    own = load_judge(judge).calibration
    typer.echo(f"| the molecule | {judge} | " + " | ".join(f"{own[name].bound:.3g}" for name in rows) + " |")
    labelled = [int(np.isfinite(known[name]).sum()) for name in rows]
    typer.echo("| molecules with a label | | " + " | ".join(f"{count:,}" for count in labelled) + " |")


if __name__ == "__main__":
    with report_user_errors("control_baselines"):
        typer.run(main)
