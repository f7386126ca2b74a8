"""What a training run is told of its data before it begins."""

from pathlib import Path

import numpy as np
import pytest

from ead_core.config import Config, load_config
from ead_core.notes import Note
from ead_core.training.session import prepare

RECIPE = Path(__file__).parents[3] / "configs" / "demo.yaml"
FRAME = "3\n{}\nO 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n"


def recipe(folder: Path, text: str, *more: str) -> Config:
    (folder / "a.xyz").write_text(text)
    return load_config(RECIPE, [f"data.path={folder / 'a.xyz'}", *more])


def test_skipped_records_cells_that_are_no_numbers_and_odd_units_are_told(tmp_path):
    gaps = [*(f"gap={5 + n / 10}" for n in range(10)), "gap=0,25"]
    text = "".join(map(FRAME.format, gaps)) + FRAME.format("").replace("O", "Xx")
    config = recipe(tmp_path, text, "conditioning.properties=[gap]")
    with pytest.warns(Note) as told:
        session = prepare(config)
    assert [str(warning.message) for warning in told] == [
        "1 of 12 records skipped: 'Xx' is not an element symbol (a.xyz, molecule 12 (line 56)).",
        "property 'gap': 1 value not readable as a number, left unknown (e.g. '0,25').",
        "gap: 10 of 10 values (5 to 5.9) are far from what molecules have in Hartree, the unit of 'gap' here; "
        "are they in eV?",
    ]
    assert np.isnan(session.train.properties["gap"]).sum() <= 1


def test_units_matter_only_where_a_model_is_told_of_them(tmp_path, recwarn):
    prepare(recipe(tmp_path, "".join(FRAME.format(f"gap={5 + n}") for n in range(10))))
    assert not [warning for warning in recwarn if issubclass(warning.category, Note)]


def test_molecules_without_a_group_name_are_not_one_group(tmp_path):
    names = ["molecule=CCO", "molecule=CCN", *[""] * 18]
    assert len(prepare(recipe(tmp_path, "".join(map(FRAME.format, names)))).train) == 16
