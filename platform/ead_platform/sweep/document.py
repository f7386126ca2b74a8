"""A report as a list of sections: one HTML file that needs nothing else, and Markdown beside its pictures."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ead_core.common import markdown
from ead_core.common.files import write_aside

TEMPLATE = Path(__file__).parent / "report.html"
Cells = list[list[str]]


@dataclass(frozen=True)
class Section:
    """A part of a report; what is empty is left out.

    Attributes:
        title: its heading.
        text: a sentence or two.
        picture: a PNG in the folder of the report.
        table: rows of text, the heading first.
        code: commands.
    """

    title: str
    text: str = ""
    picture: Path | None = None
    table: Cells | None = None
    code: Sequence[str] = ()


def write_html(title: str, summary: str, sections: Sequence[Section], path: Path) -> None:
    """Write the report with its pictures in it (OutputError if it cannot be written)."""
    page = TEMPLATE.read_text(encoding="utf-8")
    body = "".join(map(_as_html, sections))
    page = page.replace("REPORT-TITLE", html.escape(title)).replace("REPORT-SUMMARY", html.escape(summary))
    with write_aside(path) as aside:
        aside.write_text(page.replace("REPORT-BODY", body), encoding="utf-8")


def write_markdown(title: str, summary: str, sections: Sequence[Section], path: Path) -> None:
    """Write the report with links to its pictures (OutputError if it cannot be written)."""
    parts = [f"# {markdown.as_text(title)}", markdown.as_text(summary), *map(_as_markdown, sections)]
    with write_aside(path) as aside:
        aside.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _as_html(section: Section) -> str:
    parts = [f"<section><h2>{html.escape(section.title)}</h2>"]
    if section.text:
        parts.append(f"<p>{html.escape(section.text)}</p>")
    if section.picture:
        content = base64.b64encode(section.picture.read_bytes()).decode()
        parts.append(f'<img alt="{html.escape(section.title)}" src="data:image/png;base64,{content}">')
    if section.table:
        parts.append(_table(section.table))
    if section.code:
        parts.append(f"<pre>{html.escape(chr(10).join(section.code))}</pre>")
    return "".join([*parts, "</section>\n"])


def _table(rows: Cells) -> str:
    """In a box of its own, which scrolls where the table is wider than the page."""
    heading, *lines = rows
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heading)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _as_markdown(section: Section) -> str:
    parts = [f"## {markdown.as_text(section.title)}"]
    parts += [markdown.as_text(section.text)] if section.text else []
    parts += [f"![{markdown.as_text(section.title)}]({section.picture.name})"] if section.picture else []
    if section.table:
        parts.append(markdown.table([[markdown.as_text(cell) for cell in row] for row in section.table]))
    parts += ["\n".join(f"    {line}" for line in section.code)] if section.code else []
    return "\n\n".join(parts)
