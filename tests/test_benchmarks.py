"""The benchmarks start, and their index names all of them."""

import re
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
INDEX = (FOLDER / "README.md").read_text()
PROGRAMS = re.findall(r"^\| \[(\w+\.py)\]\(\1\) \|", INDEX, re.MULTILINE)


def test_the_index_names_every_file_and_no_other():
    assert set(re.findall(r"\w+\.py", INDEX)) == {path.name for path in FOLDER.glob("*.py")}


def test_the_index_links_to_pages_that_are_there():
    pages = re.findall(r"\]\((\.\./[^)]+)\)", INDEX)
    assert len(pages) > len(PROGRAMS)
    assert all((FOLDER / page).is_file() for page in pages)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_explains_itself(program, monkeypatch, capsys):
    """Which needs all of its imports; they are shared by the programs, in one process."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / program), run_name="__main__")
    assert end.value.code == 0
    assert "usage: " in capsys.readouterr().out.lower()
