"""`ead predict`: a table on the screen, and files of every kind."""

import numpy as np
import pandas as pd
import pytest

from ead_core.data.formats import read_molecules, write_molecules
from ead_core.prediction.predict import predict


@pytest.fixture
def molecules(make_set, tmp_path):
    made = make_set("CCO", "C", "CC=O", id=[7, 8, 9])
    write_molecules(made, tmp_path / "some.sdf")
    return made


def test_a_row_per_molecule_on_the_screen_and_in_every_file(ead, molecules, tmp_path):
    code, shown, _ = ead("predict", "some.sdf", "--out", "p.csv")
    assert code == 0
    head, widths, *rows = [line.split() for line in shown.splitlines()]
    assert head[:4] == ["molecule", "formula", "alpha,", "bohr³"]
    assert widths[:3] == ["95", "%", "±"]
    assert [row[:2] for row in rows] == [["7", "C2H6O"], ["8", "CH4"], ["9", "C2H4O"]]

    table = pd.read_csv(tmp_path / "p.csv")
    expected = predict(read_molecules(tmp_path / "some.sdf").molecules)["gap"]
    assert table["formula"].tolist() == ["C2H6O", "CH4", "C2H4O"]
    assert np.allclose(table["predicted_gap"], expected.value)
    for name in ("p.sdf", "p.npz"):
        assert ead("predict", "some.sdf", "--out", name)[0] == 0
        again = read_molecules(tmp_path / name).molecules
        assert again.num_atoms.tolist() == molecules.num_atoms.tolist()
        assert np.allclose(again.properties["predicted_gap_high"], expected.high)


def test_a_long_table_is_cut_on_the_screen_alone(ead, make_set, tmp_path):
    write_molecules(make_set(*["C"] * 23), tmp_path / "many.npz")
    shown = ead("predict", "many.npz", "--out", "p.csv")[1].splitlines()
    assert (len(shown), shown[-1]) == (23, "… and 3 more; --out writes all")
    assert len(pd.read_csv(tmp_path / "p.csv")) == 23


@pytest.mark.usefixtures("molecules")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("some.sdf", "--out", "p.doc"), "the name must end in one of .csv, .npz,"),
        (("none.sdf",), "none.sdf"),
        (("some.sdf", "--predictor", "qm9-small"), "generates molecules; a judge is trained with"),
        (("some.sdf", "--predictor", "qm9-jugde"), "did you mean qm9-judge?"),
        (("foreign.npz",), "that qm9-judge does not know (Cl)"),
    ],
)
def test_mistakes_are_one_sentence(ead, make_set, tmp_path, arguments, sentence):
    write_molecules(make_set("CCl", "C"), tmp_path / "foreign.npz")
    code, _, told = ead("predict", *arguments)
    assert (code, sentence in told, told.count("\n")) == (2, True, 1)
