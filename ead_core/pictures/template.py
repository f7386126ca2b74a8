"""Pages that are a single file: a template in a common frame, its script, 3Dmol.js, and the data they show."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ead_core.common.files import write_aside

WEB = Path(__file__).parent / "web"


def write_filled_page(name: str, contents: Mapping[str, str], path: Path | str) -> None:
    """Write the template `name`.html, with `name`.js and 3Dmol.js in it.

    Args:
        name: of the template.
        contents: further text by the mark that it replaces.
        path: `.html`.

    Raises:
        OutputError: the file cannot be written.
    """
    files = {
        "<!-- HEAD -->": "head.html",
        "<!-- SCRIPTS -->": "scripts.html",
        "3DMOL-LICENSE": "3Dmol-LICENSE",
        "/* 3DMOL */": "3Dmol-min.js",
        "/* SCRIPT */": f"{name}.js",
    }
    page = _text(f"{name}.html")
    for mark, file in files.items():
        page = page.replace(mark, _text(file))
    marks = re.compile("|".join(map(re.escape, contents)))  # all at once: a text may hold the mark of another
    page = marks.sub(lambda mark: contents[mark[0]], page)
    with write_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")


def _text(file: str) -> str:
    return (WEB / file).read_text(encoding="utf-8")


def as_data(content: Any) -> str:
    """JSON for a script element, which no text in it can end early.

    Raises:
        ValueError: a number that is not finite.
    """
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
