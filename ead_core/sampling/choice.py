"""Which of several molecules come closest to what was asked, by counting atoms and by a predictor.

Whoever chooses by a predictor must not be judged by it, nor by one that learnt from the same labels: the choice would
favour its errors. So a selector has learnt from the generator's half of the labels, and molecules carry its
fingerprint, by which a judge knows its own choice.

Legend: M molecules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import Checkpoint, bundled
from ead_core.chemistry.elements import element_symbol
from ead_core.data.electrons import even_electrons
from ead_core.data.properties import count_atoms, counted_element
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import TargetError
from ead_core.errors import ConfigError
from ead_core.evaluation.smiles import smiles_of
from ead_core.prediction.judge import Judge, load_judge, predict
from ead_core.sampling.conditions import targets_of

# Properties of chosen molecules: who chose, and among how many.
SELECTED_BY, BEST_OF = "selected_by", "best_of"
BUNDLED, JUDGE = "qm9-selector", "qm9-judge"


def selector_of(generator: Checkpoint, names: tuple[str, ...], given: Judge | None = None) -> Judge | None:
    """Who chooses, on the generator's device, among molecules asked for some properties; None if counting is enough.

    Args:
        generator: whose molecules.
        names: of the properties.
        given: who is to choose; None takes the bundled selector if it has the generator's half of the same data.

    Raises:
        ConfigError: one that may not choose (`check_selector`), or none where one is needed.
        TargetError: none of the properties is known to it.
    """
    predicted = [name for name in names if counted_element(name) is None]
    if given is None and predicted:
        given = _bundled_for(generator)
        if given is None:
            raise ConfigError(
                f"atoms can be counted, but {predicted[0]} must be predicted, and no bundled selector has learnt from "
                f"the labels of {generator.name}; give a selector (--selector)."
            )
    if given is not None:
        check_selector(given, generator, names)
        given.predictor.to(next(generator.denoiser.parameters()).device)
    return given


def check_selector(selector: Judge, generator: Checkpoint, names: tuple[str, ...]) -> None:
    """Refuse a selector that learnt from the judge's labels, or that cannot predict what is asked for.

    Args:
        selector: who is to choose.
        generator: whose molecules.
        names: the properties asked for.

    Raises:
        ConfigError: labels of another half than the generator's, another cut of the halves, or an element that only the
            generator knows.
        TargetError: none of the properties is known to it.
    """
    own, other = selector.config, generator.config
    if own.labels_seen != other.labels_seen or own.conditioning.half == "all":
        raise ConfigError(
            f"{selector.name} learnt from labels of conditioning.half={own.conditioning.half} "
            f"(data.split_seed={own.data.split_seed}), and {generator.name} from {other.conditioning.half} "
            f"({other.data.split_seed}): a selector must have the generator's half, which leaves the other one to the "
            "judge."
        )
    foreign = set(generator.statistics.atom_numbers) - set(selector.statistics.atom_numbers)
    if foreign:
        symbols = ", ".join(element_symbol(number) for number in sorted(foreign))
        raise ConfigError(f"{selector.name} does not know all elements of {generator.name} ({symbols}).")
    if not set(names) & set(selector.statistics.properties):
        known = ", ".join(selector.statistics.properties)
        raise TargetError(f"{selector.name} predicts {known}, but none of them is asked for.")


def _bundled_for(generator: Checkpoint) -> Judge | None:
    """The bundled selector, if it has learnt from the same labels as the generator."""
    if BUNDLED not in bundled():
        return None
    selector = _load_bundled(BUNDLED)
    learnt = [(each.config.labels_seen, each.statistics.sha256) for each in (selector, generator)]
    return selector if learnt[0] == learnt[1] else None


def independent_judge(selector: Judge, names: Sequence[str]) -> Judge | None:
    """The bundled judge, on the selector's device, if it has learnt from other labels and it is known how far the two
    agree on real molecules.
    """
    if JUDGE not in bundled():
        return None
    judge = _load_bundled(JUDGE)
    known = all(judge.fingerprint in selector.calibration[name].disagreement for name in names)
    if not known or judge.config.labels_seen == selector.config.labels_seen:
        return None
    judge.predictor.to(next(selector.predictor.parameters()).device)
    return judge


@cache
def _load_bundled(name: str) -> Judge:
    return load_judge(name)


def not_sound(molecules: MoleculeSet) -> NDArray[np.bool_]:
    """Which finished molecules [M] come last: the invalid ones, and those with an odd number of electrons."""
    return np.array([text is None for text in smiles_of(molecules)], dtype=bool) | ~even_electrons(molecules)


def distance(molecules: MoleculeSet, selector: Judge | None) -> NDArray[np.float64]:
    """How far each molecule [M] is from its targets; any difference in the elements asked for counts more than others.

    The whole part is the number of atoms too many or too few of these elements. The rest, below 1, grows with d, the
    mean deviation from the other targets in units of each property's own spread: d / (1 + d).

    Args:
        molecules: with properties `target_…`.
        selector: predicts their properties; None if only numbers of atoms are asked for.
    """
    far = _deviation(molecules, selector) if selector else np.zeros(len(molecules))
    return _wrong_atoms(molecules) + 1 - 1 / (1 + far)


def best_rows(molecules: MoleculeSet, places: NDArray[np.int64], selector: Judge | None) -> NDArray[np.int64]:
    """The row of the best candidate for each place, in ascending order of places.

    Valid ones with an even number of electrons come first, then those nearest to their targets, then earlier ones.

    Args:
        molecules: M candidates with properties `target_…`.
        places: [M] what each is a candidate for, in ascending order.
        selector: see `distance`.
    """
    first = np.unique(places, return_index=True)[1]
    if len(first) == len(places):
        return first
    return np.lexsort((distance(molecules, selector), not_sound(molecules), places))[first]


def as_chosen(
    molecules: MoleculeSet,
    candidates: int | NDArray[np.int64],
    costs: Mapping[str, NDArray[Any]],
    selector: Judge | None,
) -> MoleculeSet:
    """Chosen molecules that say so: how many candidates there were, at which cost in all, and who chose."""
    chosen = {**costs, BEST_OF: np.broadcast_to(candidates, len(molecules)).copy()}
    if selector:
        chosen[SELECTED_BY] = np.full(len(molecules), selector.fingerprint)
    return replace(molecules, properties={**molecules.properties, **chosen})


def _deviation(molecules: MoleculeSet, selector: Judge) -> NDArray[np.float64]:
    """The mean over the targets given; what is predicted from coordinates that are no numbers is none."""
    found = predict(selector.predictor, selector.config, selector.statistics, molecules)
    wanted, deviations = targets_of(molecules), []
    for name, seen in selector.statistics.properties.items():
        if name in wanted:
            off = np.abs(wanted[name] - found[name]) / seen.mad
            deviations.append(np.where(np.isnan(found[name]), np.inf, off))
    known = ~np.isnan(deviations)
    return np.asarray(np.where(known, deviations, 0).sum(axis=0) / known.sum(axis=0).clip(1))


def _wrong_atoms(molecules: MoleculeSet) -> NDArray[np.float64]:
    """Atoms too many or too few of the elements asked for, added up, in each molecule [M]."""
    wrong = np.zeros(len(molecules))
    for name, asked in targets_of(molecules).items():
        number = counted_element(name)
        if number is not None:
            wrong += np.nan_to_num(np.abs(asked - count_atoms(molecules, number)))
    return wrong
