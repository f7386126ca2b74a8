"""The files of a card: card.json for programs, card.md for documents, card.html for people."""

from collections.abc import Sequence
from pathlib import Path

from ead_core.common.files import write_aside
from ead_core.common.markdown import as_text, table
from ead_core.evaluation.card import TITLES, Card, coverage
from ead_core.evaluation.columns import Columns
from ead_core.evaluation.page import write_page
from ead_core.evaluation.tally import Tally

CARD, TEXT, PAGE = "card.json", "card.md", "card.html"
_MOST_PATTERNS = 15  # in the document


def write_report(
    card: Card, columns: Columns, tally: Tally, reference: Tally | None, sources: Sequence[Path], folder: Path
) -> None:
    """Write all three into a folder (OutputError if it cannot be written)."""
    card.save(folder / CARD)
    with write_aside(folder / TEXT) as aside:
        aside.write_text(to_markdown(card), encoding="utf-8")
    write_page(card, columns, tally, reference, sources, folder / PAGE)


def to_markdown(card: Card) -> str:
    """Headings and tables; names and reasons are shown as they are, whatever signs they hold."""
    parts = [f"# {as_text(card.name)}", f"{card.attempts:,} molecules; 95 % intervals."]
    for section, figures in card.sections.items():
        rows = [[figure.title, figure.shown(), coverage(figure)] for figure in figures.values()]
        parts += [f"## {TITLES[section]}", table([["", "", ""], *rows])]
    if card.patterns:
        rows = [
            [f"{row.kind} `{row.pattern}`", f"{row.distance:.4g}", f"{row.seen:,}", f"{row.reference:,}"]
            for row in card.patterns[:_MOST_PATTERNS]
        ]
        heading = ["pattern", "W₁", "seen", "in the reference"]
        parts += ["## What is furthest from the reference, by weight", table([heading, *rows])]
    if card.failures:
        rows = [[f"{count:,}", as_text(reason)] for reason, count in card.failures.items()]
        parts += ["## Not measured, or bonds not perceived", table([["molecules", "reason"], *rows])]
    return "\n\n".join([*parts, *_circumstances(card)]) + "\n"


def _circumstances(card: Card) -> list[str]:
    """What the molecules were made on, and what they were measured with."""
    parts = [f"Note: {as_text(note)}" for note in card.about.get("notes", [])]
    if "hardware" in card.about:
        parts.append(f"Made on {as_text(', '.join(card.about['hardware']))}.")
    versions = ", ".join(f"{package} {number}" for package, number in card.about["versions"].items())
    sources = as_text(", ".join(card.about.get("sources", [])))
    return [*parts, f"Measured with {versions}; sources: {sources}."]
