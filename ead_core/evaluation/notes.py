"""What a reader of a card must know to read its figures rightly: what was selected, left out, or judged otherwise."""

from collections.abc import Collection, Iterable

import numpy as np

from ead_core.chemistry.bonds import PUBLISHED_ELEMENTS
from ead_core.chemistry.elements import atomic_number
from ead_core.chemistry.missing_atoms import NO_HYDROGENS
from ead_core.chemistry.reasons import UNKNOWN_ELEMENT
from ead_core.evaluation.chunk import PUBLISHED
from ead_core.evaluation.columns import Columns
from ead_core.evaluation.part import Evidence
from ead_core.evaluation.parts import chosen
from ead_core.evaluation.tally import Tally


def notes(evidence: Evidence, parts: Collection[str]) -> list[str]:
    """Sentences for people, those that concern most figures first.

    Args:
        evidence: what the card is made from.
        parts: of the card.
    """
    columns, tally = evidence.columns, evidence.tally
    found = [_selection(columns), _published_elements(tally)]
    if PUBLISHED not in parts:
        found += [*_not_measured(columns), _reference_elements(tally, evidence.reference)]
    found += [part.note(evidence) for part in chosen(parts)]
    return [note for note in found if note]


def _selection(columns: Columns) -> str | None:
    candidates = columns.numbers("best_of")
    chosen = candidates[np.isfinite(candidates) & (candidates > 1)]
    if not len(chosen):
        return None
    low, high = int(chosen.min()), int(chosen.max())
    of = f"{low}" if low == high else f"{low} to {high}"
    return (
        f"{len(chosen):,} of {len(columns):,} molecules were selected, each as the best of {of} candidates (valid ones "
        "with an even number of electrons before others): the figures are of the selection, the cost that of all."
    )


def _published_elements(tally: Tally) -> str | None:
    others = set(tally.elements) - PUBLISHED_ELEMENTS
    if not others:
        return None
    return (
        f"the published protocol has a rule of ours for {_listed(others)} (single bonds up to the sum of covalent "
        "radii plus 0.1 Å, any valence that RDKit knows): its figures cannot be compared with published ones."
    )


def _not_measured(columns: Columns) -> list[str]:
    reasons = [text for text in columns.texts("reason") if text]
    foreign = [text.removeprefix(UNKNOWN_ELEMENT) for text in reasons if text.startswith(UNKNOWN_ELEMENT)]
    bare = reasons.count(NO_HYDROGENS)
    found = []
    if foreign:
        elements = {symbol for text in foreign for symbol in text.split(", ")}
        found.append(
            f"of {len(foreign):,} molecules with {_listed(elements)} nothing that needs bonds was measured, neither "
            "strict validity nor plausibility, geometry and chemistry; they count as not valid."
        )
    if bare:
        found.append(
            f"{bare:,} of {len(columns):,} molecules have no hydrogen atoms, though their carbon needs some. Every "
            "hydrogen must be an atom of its own: add them, with coordinates, before molecules are measured."
        )
    return found


def _reference_elements(tally: Tally, reference: Tally | None) -> str | None:
    lacking = set(tally.elements) - set(reference.elements) if reference else set()
    if not lacking:
        return None
    return (
        f"the reference has no {_listed(lacking)}: their usual valences are taken from a general table, and nothing is "
        "known of the lengths and angles of their bonds."
    )


def _listed(symbols: Iterable[str]) -> str:
    return ", ".join(sorted(symbols, key=atomic_number))
