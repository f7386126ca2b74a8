"""Comments of our own XYZ files are words that a reader takes apart again."""

import json
import re

import numpy as np
import pytest

from ead_core.data.formats import read_molecules, write_molecules
from ead_core.data.store import MoleculeSet

ENTRY = re.compile(r'("(?:[^"\\]|\\.)*"|[^\s="]+)=("(?:[^"\\]|\\.)*"|[^\s"]+)(?: |$)')


def written(path, **properties):
    """A neon atom with properties: the notes, and the entries of its comment as they stand."""
    columns = {name: np.array([value]) for name, value in properties.items()}
    notes = write_molecules(MoleculeSet.from_lists([np.array([10])], [np.zeros((1, 3))], columns), path)
    lines = path.read_text(encoding="utf-8").split("\n")
    assert len(lines) == 4
    assert len(read_molecules(path).molecules) == 1
    assert "".join(found[0] for found in ENTRY.finditer(lines[1])) == lines[1]
    return notes, dict(ENTRY.findall(lines[1]))


@pytest.mark.parametrize(
    ("value", "word"), [(3, "3"), (0.25, "0.25"), (-1e-9, "-1e-09"), (True, "1"), ("O", "O"), ("CC(=O)O", '"CC(=O)O"')]
)
def test_numbers_and_words_stand_as_they_are(tmp_path, value, word):
    assert written(tmp_path / "a.xyz", x=value)[1] == {"x": word}


@pytest.mark.parametrize(
    "text",
    [
        *("two words", 'quo"ted', "a=b", "line\nbreak", "tab\tbed", "\r\n\r\n", "007", "12,", "1e5", "NaN", "inf", "T"),
        *(
            "false",
            "{1 2}",
            "[C@H]",
            "'single'",
            "back\\slash",
            "é ü",
            "\u2028",
            "\x85",
            " ",
            "-",
            "gap=1 mu=2",
            "3\n\nO",
        ),
    ],
)
def test_other_texts_are_quoted_as_json(tmp_path, text):
    word = written(tmp_path / "a.xyz", x=text)[1]["x"]
    assert word[0] == '"'
    assert json.loads(word) == text


@pytest.mark.parametrize("name", ["two words", "a=b", "line\nbreak", 'quo"ted', "3", "é", "\u2028"])
def test_any_name_of_a_property_is_kept(tmp_path, name):
    notes, entries = written(tmp_path / "a.xyz", **{name: 2.5, "gap": 3.0})
    (key, word), (_, gap) = entries.items()
    assert (json.loads(key) if key[0] == '"' else key, word, gap) == (name, "2.5", "3.0")
    assert notes == []


@pytest.mark.parametrize(("name", "new"), [("", "unnamed"), ("Lattice", "Lattice_"), ("properties", "properties_")])
def test_names_that_mean_something_else_are_changed_and_told(tmp_path, name, new):
    notes, entries = written(tmp_path / "a.xyz", **{name: 2.5})
    assert entries == {new: "2.5"}
    assert notes == [f"property {name!r} is called {new!r} in the file."]


def test_what_is_unknown_is_left_out_and_vectors_are_told(tmp_path):
    notes, entries = written(tmp_path / "a.xyz", a=np.nan, b="", c=[1.0, 2.0], d=0)
    assert entries == {"d": "0"}
    assert notes == ["property 'c' is left out: it has several values per molecule."]
