"""Tables and a picture of what judge_xtb.py has measured."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from judge_xtb_molecules import PROPERTIES
from judge_xtb_statistics import Array, rank_correlation, resampled, shuffled, widening
from judge_xtb_study import Study

from ead_core.common.intervals import Interval, mean_interval, median_interval
from ead_core.common.markdown import table
from ead_core.data.properties import unit_of
from ead_core.pictures.figures import new_figure, write_figure
from ead_core.prediction.calibration import Errors, Widening

COLOURS = {"real": "#1f77b4", "generated": "#e07b00"}
RANKS = ["property", "label and xTB, real", "real", "generated", "generated − real", "chosen for it", "shuffled"]
MOVED = ["mean change", *(f"{who}, {group}" for who in ("judge", "xTB") for group in ("real", "generated"))]
SPREADS = ["mean of", "real, label", "xTB, label", "real, xTB", "generated, xTB", "chosen, xTB", "distorted, xTB"]
FACTORS = ["errors of", "generated", "generated, once relaxed", "chosen for it", "distorted", "doubled (2)"]
REACHED = ["asked for", "molecules", "selector", "judge", "xTB", "xTB if the judge is right", "xTB, ratio"]


def ranks(study: Study, judge: str) -> str:
    """Rank correlations of the judge and GFN2-xTB."""
    lines = [RANKS]
    for name in PROPERTIES:
        pairs = {
            group: np.column_stack([values.predicted[judge][name], values.xtb[name]])
            for group, values in study.given.items()
        }
        real, made, chosen = pairs["real"], pairs["generated"], pairs["chosen"][study.asked_for(name)]
        known = np.column_stack([study.given["real"].labels[name], real[:, 1]])
        apart = _told(rank_correlation(made) - rank_correlation(real), resampled(_apart, real, made))
        mixed = np.column_stack([shuffled(made[:, 0], study.groups["generated"].molecules.num_atoms), made[:, 1]])
        found = [_told(rank_correlation(each), resampled(rank_correlation, each)) for each in (known, real, made)]
        last = [_told(rank_correlation(each), resampled(rank_correlation, each)) for each in (chosen, mixed)]
        lines.append([name, *found, apart, *last])
    return table(lines)


def moved(study: Study, judge: str) -> str:
    """By how much relaxation changes what is said, and the molecules."""
    lines = [MOVED]
    for name in PROPERTIES:
        cells = []
        for who in (judge, "xTB"):
            for group in ("real", "generated"):
                before, after = study.before(group), study.relaxed[group]
                values = [each.predicted[who][name] if who == judge else each.xtb[name] for each in (before, after)]
                change = np.abs(values[1] - values[0])
                cells.append(_told(float(change.mean()), mean_interval(change)))
        lines.append([f"{name}, {unit_of(name).symbol}", *cells])
    medians = []
    for group in ("real", "generated"):
        found = study.groups[group].relaxation
        strain, rmsd = (_told(float(np.median(found[x])), median_interval(found[x])) for x in ("strain", "rmsd"))
        medians.append(f"{group}: {len(study.groups[group].relaxed)} molecules lose {strain} kcal/mol, moving {rmsd} Å")
    return f"{table(lines)}\n\n{'; '.join(medians)} (medians)"


def spreads(study: Study) -> str:
    """Mean absolute differences of labels, predictors and the corrected GFN2-xTB."""
    lines = [SPREADS]
    for predictor, name in _each(study):
        errors = study.given["real"].errors(predictor, name)
        differences = [study.given["real"].differences(predictor, name), *_differences(study, predictor, name)]
        means = [_told(float(np.abs(x).mean()), mean_interval(np.abs(x))) for x in (*errors.T, *differences)]
        lines.append([f"{predictor}, {name}, {unit_of(name).symbol}", *means])
    return table(lines)


def factors(study: Study) -> str:
    """By which factor predictors err more than on real molecules, and what the two controls say."""
    lines = [FACTORS]
    for predictor, name in _each(study):
        errors = study.given["real"].errors(predictor, name)
        made, chosen, distorted = _differences(study, predictor, name)
        doubled = 2 * errors[::2, 0] - errors[::2, 1]
        tried = [
            (errors, made),
            _once_relaxed(study, predictor, name),
            (errors, chosen),
            (errors, distorted),
            (errors[1::2], doubled),
        ]
        lines.append([f"{predictor}, {name}", *(_told(widening(*each), resampled(widening, *each)) for each in tried)])
    return table(lines)


def calibrated(study: Study, predictor: str, origin: str) -> dict[str, Errors]:
    """The calibration of a predictor with the factors of generated molecules once relaxed; the labels are of such."""
    found = dict(study.predictors[predictor].calibration)
    for name in PROPERTIES:
        pair = _once_relaxed(study, predictor, name)
        low, high = (float(f"{end:.3g}") for end in resampled(widening, *pair))
        factor = max(1.0, float(f"{widening(*pair):.3g}"))
        found[name] = replace(found[name], generated=Widening(factor, (low, high), origin))
    return found


def disagreement(study: Study, selector: str, judge: str) -> str:
    """By which factor the two predictors disagree more than on real molecules, which is known without GFN2-xTB."""
    lines = [["disagreement", "real", "generated", "chosen for it"]]
    for name in PROPERTIES:
        apart = {
            group: np.abs(values.predicted[selector][name] - values.predicted[judge][name])
            for group, values in study.given.items()
        }
        usual = apart["real"]
        others = apart["generated"], apart["chosen"][study.asked_for(name)]
        cells = [_told(float(x.mean() / usual.mean()), resampled(_ratio, usual, x)) for x in others]
        lines.append([f"{name}, {unit_of(name).symbol}", f"{usual.mean():.3g}", *(f"× {cell}" for cell in cells)])
    return table(lines)


def reached(study: Study, selector: str, judge: str) -> str:
    """How near chosen molecules come to their targets: by whom chose, by the judge, and by GFN2-xTB."""
    lines = [REACHED]
    for name in PROPERTIES:
        mine = study.asked_for(name)
        values, errors = study.given["chosen"].only(mine), study.given["real"].errors(judge, name)
        target = study.groups["chosen"].molecules.properties["target"][mine]
        by = [values.predicted[who][name] - target for who in (selector, judge)]
        xtb = values.corrected[name] - target
        seen = [f"{np.abs(x).mean():.3g}" for x in (*by, xtb)]
        pairs = np.column_stack([by[1], xtb])
        expected = f"{_expected(pairs, errors):.3g}"
        ratio = _told(_beside_expected(pairs, errors), resampled(_beside_expected, pairs, errors))
        lines.append([f"{name}, {unit_of(name).symbol}", f"{mine.sum()}", *seen, expected, ratio])
    return table(lines)


def draw(study: Study, judge: str, path: Path) -> None:
    """A panel per property: the judge against the corrected GFN2-xTB, real and generated molecules."""
    figure = new_figure(9, 8.5)
    for axes, name in zip(figure.subplots(2, 2).flat, PROPERTIES, strict=True):
        scale, unit = (1, "D") if name == "mu" else (1e-3, "eV")
        for group, colour in COLOURS.items():
            values = study.given[group]
            x, y = scale * values.corrected[name], scale * values.predicted[judge][name]
            rank = rank_correlation(np.column_stack([values.predicted[judge][name], values.xtb[name]]))
            axes.plot(x, y, ".", color=colour, markersize=4, alpha=0.5, label=f"{group}, rank correlation {rank:.2f}")
        ends = [min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])]
        axes.plot(ends, ends, color="#444444", linewidth=0.8)
        axes.set(xlabel=f"GFN2-xTB, corrected, {unit}", ylabel=f"judge, {unit}", title=name, aspect="equal")
        axes.set(xlim=ends, ylim=ends)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    write_figure(figure, path)


def _each(study: Study) -> Iterator[tuple[str, str]]:
    return ((predictor, name) for predictor in study.predictors for name in PROPERTIES)


def _differences(study: Study, predictor: str, name: str) -> tuple[Array, Array, Array]:
    """On generated, chosen and distorted molecules; of the chosen ones on those that were asked for the property."""
    made, chosen, distorted = (
        study.given[group].differences(predictor, name) for group in ("generated", "chosen", "distorted")
    )
    return made, chosen[study.asked_for(name)], distorted


def _once_relaxed(study: Study, predictor: str, name: str) -> tuple[Array, Array]:
    """What `widening` takes, of the predictor at the geometries given and the corrected GFN2-xTB at its own minima."""
    real, made = (
        np.column_stack([study.before(each).predicted[predictor][name], study.relaxed[each].corrected[name]])
        for each in ("real", "generated")
    )
    return study.relaxed["real"].labels[name][:, None] - real, made[:, 1] - made[:, 0]


def _apart(real: Array, made: Array) -> float:
    return float(rank_correlation(made) - rank_correlation(real))


def _ratio(usual: Array, others: Array) -> float:
    return float(others.mean() / usual.mean())


def _expected(pairs: Array, errors: Array) -> float:
    """The mean distance from the targets by GFN2-xTB, if both err as on real molecules: over all pairs of both."""
    return float(np.abs(pairs[:, :1] + errors[:, 0] - errors[:, 1]).mean())


def _beside_expected(pairs: Array, errors: Array) -> float:
    return float(np.abs(pairs[:, 1]).mean()) / _expected(pairs, errors)


def _told(value: float, interval: Interval) -> str:
    return f"{value:.3g} ({interval[0]:.3g} to {interval[1]:.3g})"
