"""From evaluation cards to the measured quality of a checkpoint, and back, so that any two can be compared."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ead_core.common.documents import read_json
from ead_core.errors import DataError
from ead_core.evaluation.card import Card, Evaluated
from ead_core.evaluation.chemistry_and_cost import COSTS
from ead_core.evaluation.compare import differences, load_evaluated
from ead_core.evaluation.figure import Figure
from ead_core.evaluation.protocols import SHARES
from ead_core.evaluation.quality import QUALITY, MeasuredSetting, Quality, has_rows, load_quality
from ead_core.evaluation.report import CARD


def measured_setting(
    setting: str, overrides: Mapping[str, Any], found: Evaluated, first: Evaluated | None = None
) -> MeasuredSetting:
    """The row of a setting.

    Args:
        setting: its name.
        overrides: keys of the sampler.
        found: published figures of its molecules.
        first: those of the first setting, if this is another one; the molecules have the same seeds.
    """
    changes = differences(first, found) if first else {}
    measured: dict[str, float] = {"pairs": min(change.pairs for change in changes.values())} if changes else {}
    for name, change in changes.items():
        measured |= change.metrics(name)
    figures = {"setting": setting, "overrides": dict(overrides), **found.card.to_json(), **measured}
    return MeasuredSetting.model_validate(figures)


def load_cards(path: Path) -> list[Evaluated]:
    """The card of an evaluation, or one per setting of a measured checkpoint.

    Args:
        path: card.json, quality.json, or the folder of either; in a checkpoint's folder, quality.json comes first.

    Raises:
        DataError: it is none of these.
    """
    if path.is_dir():
        quality = load_quality(path)
        if quality is None and not (path / CARD).is_file():
            raise DataError(
                f"{path} holds neither {QUALITY} nor {CARD}; `ead measure` measures a checkpoint, `ead evaluate --out` "
                "molecules."
            )
        return [load_evaluated(path)] if quality is None else cards_of(quality)
    try:
        stored = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is neither an evaluation card nor the measured quality of a checkpoint.") from error
    return cards_of(Quality.parse(stored, str(path))) if has_rows(stored) else [load_evaluated(path)]


def cards_of(quality: Quality) -> list[Evaluated]:
    """A card per setting, with the published protocol and the cost, and without a table.

    What differs from the first setting is known as it was when both were measured.
    """
    cards: list[Evaluated] = []
    for row in quality.rows:
        sections = {"published": dict(_shares(row)), "cost": dict(_costs(row))}
        known = {name: figures for name, figures in sections.items() if figures}
        name = f"{quality.checkpoint}, {row.setting}"
        card = Card(name=name, attempts=row.num_molecules, sections=known, failures={})
        cards.append(Evaluated(card, None, cards[0].card if cards else None, row.differences()))
    return cards


def _shares(row: MeasuredSetting) -> Iterator[tuple[str, Figure]]:
    """Of attempts, of the valid, or of the distinct; the document does not say how many atoms there were."""
    attempts = row.num_molecules
    of = {"uniqueness": round(row.validity * attempts), "novelty": round(row.validity_x_uniqueness * attempts)}
    for name, title in SHARES.items():
        if (value := getattr(row, name)) is not None:
            count = of.get(name, attempts)
            yield name, Figure(title, value, row.intervals.get(name), count, count)


def _costs(row: MeasuredSetting) -> Iterator[tuple[str, Figure]]:
    for name, (title, unit) in COSTS.items():
        if (value := getattr(row, f"{name}_per_molecule")) is not None:
            yield name, Figure(title, value, None, row.num_molecules, row.num_molecules, unit)
