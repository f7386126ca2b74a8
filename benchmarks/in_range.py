"""Whether the interval of how many molecules are in a range in truth holds it, on held-out molecules with labels.

    python benchmarks/in_range.py --data qm9.npz

Molecules of the test part play those of a generator: some that the selector predicts to be in a range are "delivered",
and their labels tell how many are. With --calibrate, the residuals and the disagreement with the judge that the
interval needs are measured first and written into the calibration of the selector, a folder.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import weights_digest
from ead_core.common.markdown import table
from ead_core.config import Config
from ead_core.data.dataset import split_indices
from ead_core.data.properties import unit_of
from ead_core.data.store import MoleculeSet, load_npz
from ead_core.errors import report_user_errors
from ead_core.prediction.calibration import Errors, Residuals, measure_errors, save_calibration
from ead_core.prediction.in_truth import Range, share_in_truth
from ead_core.prediction.judge import Judge, load_judge, predict
from ead_core.training.calibrating import labelled, residuals_of

TITLES = ["property", "range", "in truth %", "estimate %", "its error", "interval holds it %", "its width"]
SPANS = ((0.02, 0.1), (0.1, 0.25), (0.4, 0.6), (0.25, 0.75), (0.9, 0.98))  # quantiles of the labels


def parts(molecules: MoleculeSet, config: Config) -> tuple[MoleculeSet, MoleculeSet]:
    """The validation and the test part."""
    split = split_indices(molecules, config.data.split, config.data.split_seed)
    return molecules.select(split.valid), molecules.select(split.test)


def residuals_on(selector: Judge, molecules: MoleculeSet) -> dict[str, Residuals]:
    """Of each property, on the molecules with a label that the selector may know."""
    own = selector.config, selector.statistics
    return residuals_of(selector.predictor, *own, *labelled(*own, molecules))


def calibrate(selector: Judge, judge: Judge, valid: MoleculeSet, test: MoleculeSet, folder: Path) -> None:
    """Write the calibration of a selector, with how far the judge disagrees with it."""
    held_out = [residuals_on(selector, part) for part in (valid, test)]
    a, b = (predict(one.predictor, one.config, one.statistics, test) for one in (selector, judge))
    calibration = {
        name: replace(
            measure_errors(held_out[0][name], held_out[1][name]),
            disagreement={judge.fingerprint: float(np.abs(a[name] - b[name]).mean())},
            generated=selector.calibration[name].generated,
        )
        for name in selector.statistics.properties
    }
    save_calibration(folder, calibration, weights_digest(selector.predictor.state_dict()))


def covered(
    errors: Errors, found: Residuals, span: tuple[float, float], count: int, draws: int, generator: np.random.Generator
) -> tuple[tuple[float, float], NDArray[np.float64]]:
    """A range, and for each draw of delivered molecules the share in truth, its estimate and interval [draws, 4]."""
    labels = found.predicted + found.residuals
    low, high = (float(end) for end in np.quantile(labels, span))
    inside = np.flatnonzero((found.predicted >= low) & (found.predicted <= high))
    rows = []
    for _ in range(draws):
        some = generator.choice(inside, min(count, len(inside)), replace=False)
        ends = np.full(len(some), low), np.full(len(some), high)
        share = share_in_truth([[Range(found.predicted[some], *ends, errors)]])
        truth = ((labels[some] >= low) & (labels[some] <= high)).mean()
        rows.append((truth, share.estimate, *share.interval))
    return (low, high), np.array(rows)


def main(
    data: Annotated[Path, typer.Option(help="QM9 in the canonical store.")],
    selector: Annotated[str, typer.Option(help="Whose intervals, a name or a folder.")] = "qm9-selector",
    judge: Annotated[str, typer.Option(help="Who is to disagree with it.")] = "qm9-judge",
    calibrate_into: Annotated[Path | None, typer.Option("--calibrate", help="Folder of the selector.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Molecules delivered at once.")] = 100,
    draws: Annotated[int, typer.Option(min=1, help="Deliveries of each range.")] = 200,
) -> None:
    """Print how often intervals hold the true share."""
    choosing = load_judge(selector)
    valid, test = parts(load_npz(data), choosing.config)
    if calibrate_into:
        calibrate(choosing, load_judge(judge), valid, test, calibrate_into)
        choosing = load_judge(calibrate_into)
    found = residuals_on(choosing, test)
    generator, lines = np.random.default_rng(0), [TITLES]
    for name, residuals in found.items():
        for span in SPANS:
            (low, high), rows = covered(choosing.calibration[name], residuals, span, count, draws, generator)
            truth, estimate, below, above = rows.T
            holds = ((truth >= below - 1e-9) & (truth <= above + 1e-9)).mean()
            figures = [truth.mean(), estimate.mean(), np.abs(estimate - truth).mean(), holds, (above - below).mean()]
            ends = [f"{name}, {unit_of(name).symbol}", f"{low:.4g} to {high:.4g}"]
            lines.append([*ends, *(f"{100 * figure:.1f}" for figure in figures)])
    typer.echo(table(lines))


if __name__ == "__main__":
    with report_user_errors("in_range"):
        typer.run(main)
