"""Text from elsewhere as part of a Markdown document: names are shown as they are, whatever signs they hold."""

import re

_SIGNS = re.compile(r"[\\`*\[\]<>|~&#$]|(?<![^\W_])_|_(?![^\W_])")  # an underscore between letters is only itself


def printable(text: str) -> str:
    """A text in one line; what no screen and no file can show, such as half of a character, becomes `�`."""
    return "".join(letter if letter.isprintable() else "�" for letter in " ".join(text.split()))


def as_text(text: str) -> str:
    """A text in one line in which no sign means anything to Markdown or HTML."""
    return _SIGNS.sub(lambda sign: f"\\{sign[0]}", printable(text))


def table(rows: list[list[str]]) -> str:
    """A table of cells that are Markdown already; the first row is its heading."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (rows[0], ["---"] * len(rows[0]), *rows[1:]))
