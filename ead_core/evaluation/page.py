"""card.html: the figures, plots of distributions, and the best and the worst molecules in 3D, in a single file."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ead_core.data.streams import molecules_at
from ead_core.evaluation.card import TITLES, Card, coverage
from ead_core.evaluation.columns import Columns
from ead_core.evaluation.plots import distributions
from ead_core.evaluation.tally import Tally
from ead_core.pictures.molecules import mdl_block
from ead_core.pictures.template import as_data, write_filled_page

SHOWN = 6  # molecules at either end


def write_page(
    card: Card, columns: Columns, tally: Tally, reference: Tally | None, sources: Sequence[Path], path: Path
) -> None:
    """Write the page (OutputError if it cannot be written)."""
    contents = {
        "CARD-NAME": html.escape(card.name),
        "CARD-SIZE": html.escape(_summary(card)),
        "CARD-TABLES": "".join(map(_table, _rows(card))),
        "CARD-PLOTS": _picture(card, columns, tally, reference),
        "/* MOLECULES */": as_data(_molecules(columns, sources)),
    }
    write_filled_page("card", contents, path)


def _summary(card: Card) -> str:
    made = f"; made on {', '.join(card.about['hardware'])}" if "hardware" in card.about else ""
    notes = "".join(f"; note: {note.rstrip('.')}" for note in card.about.get("notes", []))
    return f"{card.attempts:,} molecules; 95 % intervals{made}{notes}"


def _rows(card: Card) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Title and lines of each table."""
    tables: list[tuple[str, list[tuple[str, ...]]]] = [
        (TITLES[section], [(figure.title, figure.shown(), coverage(figure)) for figure in figures.values()])
        for section, figures in card.sections.items()
    ]
    if card.failures:
        reasons: list[tuple[str, ...]] = [(reason, f"{count:,}") for reason, count in card.failures.items()]
        tables.append(("Not measured, or bonds not perceived", reasons))
    return tables


def _table(titled: tuple[str, list[tuple[str, ...]]]) -> str:
    title, lines = titled
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<section><h2>{html.escape(title)}</h2><table>{rows}</table></section>"


def _picture(card: Card, columns: Columns, tally: Tally, reference: Tally | None) -> str:
    figure = distributions(card, columns, tally, reference)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f'<img alt="Distributions" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _molecules(columns: Columns, sources: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """Captions and MDL blocks of those to be shown."""
    order = _ranked(columns)
    chosen = {"best": order[:SHOWN], "worst": order[::-1][:SHOWN]}
    found = molecules_at(sources, [*chosen["best"], *chosen["worst"]])
    rows = columns.rows(np.array(sorted(found), dtype=np.int64)).set_index("number") if found else None
    return {
        title: [
            {"caption": _caption(rows.loc[number]), "block": mdl_block(found[number])}
            for number in numbers
            if rows is not None and number in found
        ]
        for title, numbers in chosen.items()
    }


def _ranked(columns: Columns) -> list[int]:
    """Numbers of the measured molecules, those that pass most first, and of like ones the least strained."""
    passed = np.stack([columns.flags(name) for name in ("perceived", "valid", "stable", "strict_valid", "posebusters")])
    strain = np.nan_to_num(columns.numbers("strain"), nan=np.inf)
    numbers = np.flatnonzero(columns.sampled & np.isfinite(columns.numbers("atoms")))
    order = np.lexsort((strain[numbers], -passed.sum(axis=0)[numbers]))
    return [int(number) for number in numbers[order]]


def _caption(row: Any) -> str:
    words = [row["formula"]]
    words += [f"{row['strain']:.1f} kcal/mol"] if np.isfinite(row["strain"]) else []
    words += ["not stable"] if not row["stable"] else []
    words += ["not valid"] if not row["valid"] else []
    words += [f"no bonds: {row['reason']}"] if isinstance(row["reason"], str) else []
    failed = row["posebusters_failed"]
    words += [f"fails {failed.replace('_', ' ')}"] if isinstance(failed, str) and failed else []
    return " · ".join(words)
