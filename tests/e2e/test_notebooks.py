"""The notebooks of the documentation run from top to bottom.

Their cells are plain Python, so they are executed here without a kernel: it spares Jupyter's packages, and a failure
shows where it happened. What a notebook would show after a cell is made, too; of the molecules, only a few.
"""

import ast
import json
import re
from pathlib import Path

import pytest

from ..in_this_process import in_this_process

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def execute(source, names):
    """Run a cell; a last line that is an expression gives the value that a notebook shows."""
    *statements, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        statements.append(last)
    exec(compile(ast.Module(statements, []), "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if isinstance(last, ast.Expr) else None


def show(value):
    return value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)


def few(source):
    return re.sub(r"\bnum=\d+", "num=2", source)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_is_stored_without_outputs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    names = {"__name__": "__main__"}
    with in_this_process():
        shown = [show(execute(few("".join(cell["source"])), names)) for cell in cells]
    assert 2 == len(names["molecules"]) == len(names["molecules"].properties["nfe"])
    assert any("<table" in text for text in shown)
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def test_there_are_two():
    assert [path.stem for path in NOTEBOOKS] == ["conditional-generation", "first-steps"]
