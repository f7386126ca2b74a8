"""Whether molecules have the properties that were asked for, as a judge sees it.

Legend: M molecules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.common.intervals import wilson
from ead_core.data.properties import count_atoms, counted_element, unit_of
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError
from ead_core.prediction.calibration import COUNTED, Errors
from ead_core.prediction.judge import Judge, predict
from ead_core.sampling.choice import SELECTED_BY
from ead_core.sampling.conditions import TARGET, targets_of

# What others report for QM9 in the protocol of EDM (table 2 there), collected by the EAD paper; "number of atoms" knows
# nothing else of the molecule.
LITERATURE: dict[str, dict[str, float]] = {
    "EAD": {"alpha": 2.24, "gap": 564, "homo": 318, "lumo": 516, "mu": 0.999, "Cv": 0.945},
    "GeoLDM": {"alpha": 2.37, "gap": 587, "homo": 340, "lumo": 522, "mu": 1.108, "Cv": 1.025},
    "EDM": {"alpha": 2.76, "gap": 655, "homo": 356, "lumo": 584, "mu": 1.111, "Cv": 1.101},
    "number of atoms": {"alpha": 3.86, "gap": 866, "homo": 426, "lumo": 813, "mu": 1.053, "Cv": 1.971},
    "bound of their judge": {"alpha": 0.10, "gap": 64, "homo": 39, "lumo": 36, "mu": 0.043, "Cv": 0.040},
}


@dataclass(frozen=True)
class Verdict:
    """How far molecules are from what was asked, for one property.

    Attributes:
        name: of the property.
        error: mean absolute deviation of what is achieved from what was asked, over all molecules with a target.
        interval: 95 % of that mean, by its standard error.
        molecules: with a target.
        within: share of them whose target lies in the interval of the judge.
        bound: mean absolute error of the judge on real molecules.
        asked, achieved: [M] in border units, NaN in `asked` where it was open.
        half_width: of the judge's interval around what is achieved, for generated molecules.
    """

    name: str
    error: float
    interval: tuple[float, float]
    molecules: int
    within: float
    bound: float
    asked: NDArray[np.float64]
    achieved: NDArray[np.float64]
    half_width: float


def judged(molecules: MoleculeSet, judge: Judge) -> list[Verdict]:
    """A verdict for every property that was asked for, if the judge knows it or it is a number of atoms.

    Args:
        molecules: with properties `target_…`, as sampled with targets.
        judge: one that had no part in making or choosing them.

    Raises:
        DataError: molecules without targets that the judge knows, or chosen by this very judge, or with an element that
            it does not know.
    """
    wanted = targets_of(molecules)
    counted = {name: number for name in wanted if (number := counted_element(name)) is not None}
    known = [name for name in judge.statistics.properties if name in wanted and name not in counted]
    if not known and not counted:
        asked = f"were asked for {', '.join(wanted)}" if wanted else "were made without targets"
        raise DataError(f"the molecules {asked}; {judge.name} judges {', '.join(judge.statistics.properties)}.")
    if judge.fingerprint in np.unique(molecules.properties.get(SELECTED_BY, [])):
        raise DataError(f"the molecules were chosen by {judge.name} itself; another judge must judge them.")
    found = predict(judge.predictor, judge.config, judge.statistics, molecules) if known else {}
    return [_verdict(name, wanted[name], found[name], judge.calibration[name]) for name in known] + [
        _verdict(name, wanted[name], count_atoms(molecules, number), COUNTED) for name, number in counted.items()
    ]


def _verdict(name: str, asked: NDArray[np.float64], achieved: NDArray[np.float64], figures: Errors) -> Verdict:
    errors = np.abs(asked - achieved)
    errors = errors[~np.isnan(errors)]
    if not len(errors):
        raise DataError(f"no molecule has a target of '{name}'.")
    error, spread = float(errors.mean()), 1.96 * float(errors.std() / len(errors) ** 0.5)
    return Verdict(
        name=name,
        error=error,
        interval=(error - spread, error + spread),
        molecules=len(errors),
        within=float((errors <= figures.widened).mean()),
        bound=figures.bound,
        asked=asked,
        achieved=achieved,
        half_width=figures.widened,
    )


def composed(verdicts: list[Verdict]) -> NDArray[np.bool_] | None:
    """Which molecules [M] have all numbers of atoms that were asked for, each element's; None if none were."""
    counts = [v for v in verdicts if counted_element(v.name) is not None]
    if not counts:
        return None
    asked, achieved = np.stack([v.asked for v in counts]), np.stack([v.achieved for v in counts])
    targeted = ~np.isnan(asked).all(axis=0)
    met: NDArray[np.bool_] = ((asked == achieved) | np.isnan(asked)).all(axis=0)[targeted]
    return met


def table(verdicts: list[Verdict]) -> str:
    """Text: a line per property, what others report, for context, and how many have the elements asked for."""
    head = f"{'property':<10}{'unit':<12}{'molecules':>9}{'error (95 %)':>26}{'judge':>9}{'within its interval':>21}"
    lines = ["mean absolute deviation from what was asked, and that of the judge on real molecules", head]
    for v in verdicts:
        error = f"{v.error:.4g} ({v.interval[0]:.4g} – {v.interval[1]:.4g})"
        what, seen = f"{v.name:<10}{unit_of(v.name).symbol:<12}", f"{v.bound:>9.3g}{100 * v.within:>19.1f} %"
        lines.append(f"{what}{v.molecules:>9}{error:>26}{seen}")
    met = composed(verdicts)
    if met is not None:
        share, (low, high) = 100 * met.mean(), wilson(int(met.sum()), len(met))
        lines += ["", f"with the elements asked for: {share:.1f} ({100 * low:.1f} – {100 * high:.1f}) % of {len(met)}"]
    known = [v.name for v in verdicts if v.name in LITERATURE["EAD"]]
    if known:
        lines += ["", "others, as they report it (other data, judges and targets: context, not comparison)"]
        lines.append(f"{'':<22}{''.join(f'{name:>9}' for name in known)}")
        lines += [f"{who:<22}{''.join(f'{row[name]:>9g}' for name in known)}" for who, row in LITERATURE.items()]
    return "\n".join(lines)


def to_json(verdicts: list[Verdict], judge: Judge) -> dict[str, Any]:
    """The figures as plain values."""
    names = ("error", "interval", "molecules", "within", "bound", "half_width")
    figures = {v.name: {name: getattr(v, name) for name in names} for v in verdicts}
    document = {"judge": {"name": judge.name, "fingerprint": judge.fingerprint}, "properties": figures}
    met = composed(verdicts)
    return document if met is None else {**document, "composition": float(met.mean())}


def per_molecule(molecules: MoleculeSet, verdicts: list[Verdict]) -> Mapping[str, NDArray[Any]]:
    """Columns of a table with a row per molecule: what was asked, what is achieved, and its 95 % interval."""
    columns: dict[str, NDArray[Any]] = {"id": np.asarray(molecules.properties.get("id", np.arange(len(molecules))))}
    for v in verdicts:
        columns |= {
            f"{TARGET}{v.name}": v.asked,
            v.name: v.achieved,
            f"{v.name}_low": v.achieved - v.half_width,
            f"{v.name}_high": v.achieved + v.half_width,
        }
    return columns
