"""A hook of MkDocs: pages of the site that live elsewhere in the checkout, and the notebooks as pages."""

import json
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "platform/README.md": "how-to/platform.md",
    "platform/clusters/README.md": "how-to/clusters.md",
    "benchmarks/README.md": "reference/benchmarks.md",
    "CONTRIBUTING.md": "extend/contributing.md",
    "CHANGELOG.md": "reference/changelog.md",
}
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what `ELSEWHERE` names and is there, and a page beside every notebook."""
    for source, page in ELSEWHERE.items():
        if (ROOT / source).exists():
            text = _relink((ROOT / source).read_text(encoding="utf-8"), source, page)
            files.append(File.generated(config, page, content=text))
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        page = f"notebooks/{notebook.stem}.md"
        files.append(File.generated(config, page, content=_notebook_as_markdown(notebook)))
    return files


def _relink(text: str, source: str, page: str) -> str:
    """Links relative to `source`, as links relative to `page`; what is on no page becomes its path in the checkout."""

    def moved(link: re.Match[str]) -> str:
        words, address, anchor = link[1], link[2], link[3] or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), address))
        there = ELSEWHERE.get(target, target.removeprefix("docs/") if target.startswith("docs/") else None)
        if there is None:
            return words if words.strip("`") == address else f"{words} (`{target}`)"
        return f"[{words}]({posixpath.relpath(there, posixpath.dirname(page))}{anchor})"

    return LINK.sub(moved, text)


def _notebook_as_markdown(notebook: Path) -> str:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    blocks = [
        "".join(cell["source"]) if cell["cell_type"] == "markdown" else f"```python\n{''.join(cell['source'])}\n```"
        for cell in cells
    ]
    blocks.insert(1, f"*This page is a notebook: [{notebook.name}]({notebook.name}).*")
    return "\n\n".join(blocks) + "\n"
