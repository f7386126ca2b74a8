"""`ead data prepare`, `info` and `demo` as a user meets them."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from ead_core.cli.data import data_app
from ead_core.data.formats import read_molecules
from ead_core.data.store import MoleculeSet, save_npz
from ead_core.errors import DataError, OutputError
from ead_core.notes import Note

WATER = "3\n\nO 0.0 0.0 0.1173\nH 0.0 0.7572 -0.4692\nH 0.0 -0.7572 -0.4692\n"


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(data_app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_prepare_reports_what_it_skips(tmp_path: Path) -> None:
    source, out = tmp_path / "a.xyz", tmp_path / "out.npz"
    source.write_text(WATER * 2 + WATER.replace("O ", "Xx ") * 12)
    text = run("prepare", source, "--out", out).stdout
    assert f"2 molecules → {out}" in text
    assert "12 bad records skipped" in text
    assert text.count("'Xx' is not an element symbol.") == 10
    listing = tmp_path / "out.npz.skipped.txt"
    lines = listing.read_text().splitlines()
    assert len(lines) == 12
    assert lines[0] == "a.xyz, molecule 3 (line 11): 'Xx' is not an element symbol."
    assert len(read_molecules(out).molecules) == 2

    source.write_text(WATER)
    assert "skipped" not in run("prepare", source, "--out", out, "--overwrite").stdout
    assert not listing.exists()


def test_prepare_and_info_tell_which_cells_are_no_numbers_and_which_units_are_odd(tmp_path: Path) -> None:
    source = tmp_path / "a.xyz"
    source.write_text(
        "".join(WATER.replace("3\n\n", f"3\ngap={gap} charge={n}\n") for n, gap in enumerate(["6.8", "7", "0,3"]))
    )
    for text in (run("prepare", source, "--out", tmp_path / "a.npz").stdout, run("info", source).stdout):
        assert "property 'gap': 1 value not readable as a number, left unknown (e.g. '0,3')." in text
        assert "gap: 2 of 2 values (6.8 to 7) are far from" in text
        assert "are they in eV?" in text
    assert read_molecules(tmp_path / "a.npz").molecules.properties["formal_charge"].tolist() == [0, 1, 2]


def test_reasons_are_grouped(tmp_path: Path) -> None:
    source = tmp_path / "a.xyz"
    bad = [WATER.replace("O ", symbol) for symbol in ("Xx ", "Yy ", "Zz ")] + [WATER.replace("0.1173", "nan")]
    source.write_text(WATER + "".join(bad))
    text = run("prepare", source, "--out", tmp_path / "a.npz").stdout
    assert "4 bad records skipped" in text
    assert "  3 × … is not an element symbol.\n  1 × a coordinate is not a finite number.\n" in text
    assert "3 of 5 records skipped: 'Xx' is not an element symbol (a.xyz, molecule 2" in run("info", source).stdout


def test_prepare_says_what_rdkit_cannot_read(tmp_path: Path) -> None:
    source, out = tmp_path / "a.xyz", tmp_path / "a.sdf"
    source.write_text(WATER + WATER.replace("3\n", "4\n", 1) + "H 0.0 0.0 1.0773\n")
    with pytest.warns(Note, match="of 2 molecules 1 have bonds of a distance table"):
        run("prepare", source, "--out", out)


def test_prepare_keeps_a_file_that_exists(tmp_path: Path) -> None:
    source, out = tmp_path / "a.xyz", tmp_path / "a.npz"
    source.write_text(WATER)
    out.write_text("dear to me")
    with pytest.raises(OutputError, match="exists and is kept; --overwrite replaces it"):
        run("prepare", source, "--out", out)
    assert out.read_text() == "dear to me"
    assert run("prepare", source, "--out", out, "--overwrite").exit_code == 0
    assert len(read_molecules(out).molecules) == 1


def test_prepare_excludes(tmp_path: Path) -> None:
    molecules = MoleculeSet(np.ones(3), np.ones(3), np.zeros((3, 3)), {"index": np.array([4, 5, 6])})
    save_npz(molecules, tmp_path / "a.npz")
    (tmp_path / "list.txt").write_text("Index\n5 because\n")
    result = run("prepare", tmp_path / "a.npz", "--out", tmp_path / "b.npz", "--exclude", tmp_path / "list.txt")
    assert "1 molecules left out by the exclusion list" in result.stdout
    assert read_molecules(tmp_path / "b.npz").molecules.properties["index"].tolist() == [4, 6]


def test_mistakes_are_found_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ead_core.data.demo.build_demo", lambda *_: pytest.fail("began to build"))
    monkeypatch.setattr("ead_core.data.formats.read_molecules", lambda *_, **__: pytest.fail("began to read"))
    for command in (["prepare", "a.xyz"], ["demo"]):
        with pytest.raises(OutputError, match="must end in one of"):
            run(*command, "--out", tmp_path / "a.txt")


def test_errors_rise_to_main(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        run("info", tmp_path / "nope.npz")


def test_info_shows_sizes_elements_and_coverage(tmp_path: Path) -> None:
    sizes = np.array([1, 1, 2, 45])
    molecules = MoleculeSet(
        sizes,
        np.array([6, 6, 8, *[1] * 46]),
        np.zeros((49, 3)),
        {"gap": np.array([0.25, np.nan, 0.5, 0.25]), "[smiles]": np.array(["C", "", "", "C"])},
    )
    save_npz(molecules, tmp_path / "a[1].npz")
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in run("info", tmp_path / "a[1].npz").stdout.splitlines()
    ]
    assert ["molecules", "4"] in rows
    assert ["atoms per molecule", "1 to 45, mean 12.25"] in rows
    assert ["H", "46", "93.9%", "50.0%"] in rows
    assert ["O", "1", "2.0%", "25.0%"] in rows
    assert ["gap", "75.0%", "0.25", "0.5", "2"] in rows
    assert ["[smiles]", "50.0%", "", "", "1"] in rows
    assert ["1–2", "3", "█" * 40] in rows
    assert ["45", "1", "█" * 13] in rows


def test_demo_writes_molecules(tmp_path: Path) -> None:
    out = tmp_path / "demo.npz"
    text = run("demo", "--out", out, "--num", 3, "--max-atoms", 12).stdout
    assert f"3 molecules → {out}" in text
    molecules = read_molecules(out).molecules
    assert molecules.num_atoms.max() <= 12
    assert set(molecules.properties) == {"index", "smiles"}


@pytest.mark.parametrize("option", ["--num", "--workers", "--max-atoms"])
def test_demo_wants_positive_numbers(tmp_path: Path, option: str) -> None:
    assert run("demo", "--out", tmp_path / "a.npz", option, 0).exit_code == 2
