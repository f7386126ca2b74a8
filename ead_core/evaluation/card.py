"""The evaluation card of a set of molecules: one document with everything that was measured, and what it rests on."""

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, ClassVar, Literal

from pydantic import Field

from ead_core.common.documents import Document
from ead_core.errors import DataError
from ead_core.evaluation.chemistry_and_cost import cost
from ead_core.evaluation.chunk import PUBLISHED, UNREADABLE
from ead_core.evaluation.columns import Columns
from ead_core.evaluation.difference import Difference
from ead_core.evaluation.distances import PatternDistance, pattern_distances
from ead_core.evaluation.failures import failures
from ead_core.evaluation.figure import Figure, Section
from ead_core.evaluation.notes import notes
from ead_core.evaluation.part import Evidence
from ead_core.evaluation.parts import chosen
from ead_core.evaluation.protocols import published, strict
from ead_core.evaluation.reference import Known
from ead_core.evaluation.run import EvaluationPlan
from ead_core.evaluation.tally import Tally

TITLES = {
    "published": "Published protocol (EDM)",
    "strict": "Strict protocol (RDKit perception)",
    "plausibility": "Physical plausibility",
    "geometry": "Geometry against the reference",
    "chemistry": "Chemistry",
    "cost": "Cost",
}


class Card(Document):
    """Quality of a set of molecules.

    Attributes:
        name: of the set.
        attempts: molecules, the unreadable ones included.
        sections: figures by section (the keys of `TITLES`) and name; sections without figures are left out.
        failures: how many molecules were not measured or not perceived, by reason.
        patterns: distances of bonds, angles and torsions to the reference, what weighs most first.
        about: sources, settings and versions.
    """

    kind: ClassVar[str] = "an evaluation card"

    version: Literal[2] = Field(2, alias="schema_version")
    name: str
    attempts: int = Field(alias="num_molecules")
    sections: dict[str, Section]
    failures: dict[str, int]
    patterns: list[PatternDistance] = Field([])
    about: dict[str, Any] = Field({})

    def figures(self) -> Iterator[tuple[str, str, Figure]]:
        """Section, name and figure of everything, in order."""
        for section, figures in self.sections.items():
            for name, figure in figures.items():
                yield section, name, figure

    def figure(self, name: str) -> Figure:
        """The figure of a name such as "validity".

        Raises:
            DataError: the card has none of this name.
        """
        found = {key: figure for _, key, figure in self.figures()}
        if name not in found:
            raise DataError(f"the card of {self.name} has no figure '{name}'; it has {', '.join(found)}.")
        return found[name]

    def to_json(self) -> dict[str, Any]:
        """Plain values; the published protocol and the cost also flat, without their sections."""
        flat, costs = self.sections.get("published", {}), self.sections.get("cost", {})
        unreadable = sum(count for reason, count in self.failures.items() if reason.startswith(UNREADABLE))
        return {
            "num_skipped": unreadable,
            "novelty": None,
            **{name: figure.value for name, figure in flat.items()},
            "intervals": {name: list(figure.interval) for name, figure in flat.items() if figure.interval},
            "nfe_per_molecule": costs["nfe"].value if "nfe" in costs else None,
            "seconds_per_molecule": costs["seconds"].value if "seconds" in costs else None,
            **super().to_json(),
        }

    def table(self) -> str:
        """Aligned text for a terminal."""
        lines = [f"{self.name}: {self.attempts:,} molecules"]
        for section, figures in self.sections.items():
            lines += ["", TITLES[section]]
            lines += [f"  {f.title:<52} {f.shown():<36}{coverage(f)}".rstrip() for f in figures.values()]
        if "hardware" in self.about:
            lines.append(f"  made on {', '.join(self.about['hardware'])}")
        lines += [f"\nNote: {note}" for note in self.about.get("notes", [])]
        if self.failures:
            lines += ["", "Not measured, or bonds not perceived"]
            lines += [f"  {count:>8,}  {reason}" for reason, count in self.failures.items()]
        return "\n".join(lines)


@dataclass(frozen=True)
class Evaluated:
    """A card, with what it can be compared by.

    Attributes:
        card: the figures.
        columns: the table behind it, if that is at hand.
        baseline: another card, to which the differences have been measured.
        differences: of shares to the baseline, by the name of the figure.
    """

    card: Card
    columns: Columns | None
    baseline: Card | None = None
    differences: Mapping[str, Difference] = field(default_factory=dict)


def coverage(figure: Figure) -> str:
    """What a figure rests on, in words."""
    return f"of {figure.of:,}" if figure.known == figure.of else f"known for {figure.known:,} of {figure.of:,}"


def make_card(
    name: str,
    columns: Columns,
    tally: Tally,
    plan: EvaluationPlan,
    reference: Tally | None = None,
    known: Known | None = None,
    about: Mapping[str, Any] | None = None,
) -> Card:
    """The card of a table and a tally.

    Args:
        name: of the set.
        columns: of the table.
        tally: of the same molecules.
        plan: how they were measured.
        reference: real molecules.
        known: molecules that are not new.
        about: sources and settings, to be kept in the card.
    """
    smiles, inchikeys = (known.smiles, known.inchikeys) if known else (None, None)
    evidence = Evidence(columns, tally, reference)
    sections = {title: Section() for title in TITLES}
    sections["published"] = published(columns, smiles)
    sections["strict"] = strict(columns, inchikeys) if PUBLISHED not in plan.parts else {}
    sections["cost"] = cost(columns, inchikeys, plan.parts)
    for part in chosen(plan.parts):
        sections[part.section] |= part.summarise(evidence)
    return Card(
        name=name,
        attempts=len(columns),
        sections={section: figures for section, figures in sections.items() if figures},
        failures=failures(columns),
        patterns=pattern_distances(tally, reference) if reference else [],
        about={
            **(about or {}),
            **_hardware(columns),
            **_circumstances(plan),
            **({"notes": remarks} if (remarks := notes(evidence, plan.parts)) else {}),
        },
    )


def _hardware(columns: Columns) -> dict[str, Any]:
    """What the molecules were made on, if their files say so: without it their seconds mean little."""
    names = sorted(columns.distinct("hardware"))
    return {"hardware": names} if names else {}


def _circumstances(plan: EvaluationPlan) -> dict[str, Any]:
    packages = dict.fromkeys(["ead", "rdkit", *(name for part in chosen(plan.parts) for name in part.packages)])
    return {
        "parts": list(plan.parts),
        "sample": plan.sample,
        "versions": {package: version(package) for package in packages},
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
