"""Every format: round trips, the quirks of GDB9, and one sentence for every kind of bad input."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ead_core.data.formats import check_output, encode_molecules, read_molecules, write_molecules
from ead_core.data.store import MoleculeSet, save_npz
from ead_core.errors import DataError, OutputError

SHARED = Path(os.environ.get("EAD_DATA") or Path(__file__).parents[3].parent / "shared" / "data")
RAW = SHARED / "raw_samples"
needs_shared = pytest.mark.skipif(not RAW.is_dir(), reason="needs the shared data folder")

WATER = "3\n\nO 0.0 0.0 0.1173\nH 0.0 0.7572 -0.4692\nH 0.0 -0.7572 -0.4692\n"
GDB9_VALUES = [799.58812, 437.90386, 282.94545, 1.8511, 6.31, -0.2928, 0.0687, 0.3615, 19.0002, 0.021375]
GDB9_VALUES += [-76.404702, -76.401867, -76.400922, -76.422349, 6.002]
GDB9_NAMES = ["rotA", "rotB", "rotC", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve"]
GDB9_NAMES += ["U0", "U", "H", "G", "Cv"]


def gdb9(index: int = 3, trailer: bool = True) -> str:
    header = f"gdb {index}\t" + "\t".join(map(str, GDB9_VALUES))
    atoms = "O\t 0.1\t 0.0\t 1.5*^-6\t-0.5\nH\t 0.0\t 0.9\t 0.0\t 0.25\nH\t 0.9\t-2.*^-1\t 0.0\t 0.25\n"
    end = "1671.4\t3803.6\t3907.7\nO1\tO\nInChI=1S/H2O/h1H2\tInChI=1S/H2O/h1H2\n" if trailer else ""
    return f"3\n{header}\n{atoms}{end}"


@pytest.fixture
def molecules() -> MoleculeSet:
    """Water and hydrogen fluoride with every kind of property, some unknown."""
    return MoleculeSet.from_lists(
        [np.array([8, 1, 1]), np.array([9, 1])],
        [
            np.array([[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]]),
            np.array([[0, 0, 0], [0, 0, 0.9168]]),
        ],
        {
            "index": np.array([3, 7]),
            "gap": np.array([0.3615, np.nan]),
            "smiles": np.array(["O", ""]),
        },
    )


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def molblock(symbol: str = "O", coordinate: str = "    0.1173", dimension: str = "3D") -> str:
    return (
        f"water\n     RDKit          {dimension}\n\n  3  2  0  0  0  0  0  0  0  0999 V2000\n"
        f"    0.0000    0.0000{coordinate} {symbol:<3} 0  0\n"
        "    0.0000    0.7572    0.0000 H   0  0\n    0.0000   -0.7572    0.0000 H   0  0\n"
        "  1  2  1  0\n  1  3  1  0\nM  END\n"
    )


class TestRoundTrips:
    @pytest.mark.parametrize("name", ["a.npz", "a.parquet", "a.xyz", "a.sdf", "a.sdf.gz", "A.SDF.GZ"])
    def test_molecules_come_back(self, tmp_path: Path, molecules: MoleculeSet, name: str) -> None:
        write_molecules(molecules, tmp_path / name)
        report = read_molecules(tmp_path / name)
        assert report.skipped == []
        assert report.molecules.num_atoms.tolist() == [3, 2]
        assert report.molecules.charges.tolist() == [8, 1, 1, 9, 1]
        # SDF V2000 has four decimals; the coordinates above have no more.
        np.testing.assert_allclose(report.molecules.positions, molecules.positions, atol=1e-6)
        assert [p.name for p in tmp_path.iterdir()] == [name]

    @pytest.mark.parametrize("name", ["a.npz", "a.parquet", "a.sdf", "a.sdf.gz"])
    def test_properties_come_back(self, tmp_path: Path, molecules: MoleculeSet, name: str) -> None:
        write_molecules(molecules, tmp_path / name)
        properties = read_molecules(tmp_path / name).molecules.properties
        assert set(properties) == {"index", "gap", "smiles"}
        assert properties["index"].dtype.kind == "i"
        assert properties["index"].tolist() == [3, 7]
        np.testing.assert_array_equal(properties["gap"], [0.3615, np.nan])
        assert properties["smiles"].tolist() == [
            "O",
            "F" if ".sdf" in name else "",
        ]  # an SDF has all that are perceived

    def test_xyz_comment_holds_the_known_scalars(self, tmp_path: Path, molecules: MoleculeSet) -> None:
        write_molecules(molecules, tmp_path / "a.xyz")
        lines = (tmp_path / "a.xyz").read_text().splitlines()
        assert lines[:2] == ["3", "index=3 gap=0.3615 smiles=O"]
        assert lines[5:7] == ["2", "index=7"]


class TestGdb9:
    def test_properties_and_mathematica_floats(self, tmp_path: Path) -> None:
        report = read_molecules(put(tmp_path, "a.xyz", gdb9()))
        molecules = report.molecules
        assert molecules.charges.tolist() == [8, 1, 1]
        np.testing.assert_allclose(molecules.positions[0], [0.1, 0, 1.5e-6])
        np.testing.assert_allclose(molecules.positions[2], [0.9, -0.2, 0], rtol=1e-6)
        assert [molecules.properties[name].item() for name in GDB9_NAMES] == GDB9_VALUES
        assert molecules.properties["index"].tolist() == [3]
        assert molecules.properties["smiles"].tolist() == ["O"]  # of the relaxed geometry, not `O1`

    def test_without_the_last_three_lines(self, tmp_path: Path) -> None:
        properties = read_molecules(put(tmp_path, "a.xyz", gdb9(trailer=False))).molecules.properties
        assert properties["smiles"].tolist() == [""]
        assert properties["gap"].tolist() == [0.3615]

    @pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.bz2"])
    def test_archive_in_sorted_order(self, tmp_path: Path, ending: str) -> None:
        path = tmp_path / f"dsgdb9nsd.xyz{ending}"
        with tarfile.open(path, f"w:{ending.removeprefix('.tar').lstrip('.')}") as tar:
            for index in (30, 4, 12):
                add(tar, f"folder/dsgdb9nsd_{index:06d}.xyz", gdb9(index))
            add(tar, "folder/readme.txt", "not a molecule")
            add(tar, "folder/._dsgdb9nsd_000004.xyz", "what macOS leaves behind")
        report = read_molecules(path)
        assert report.molecules.properties["index"].tolist() == [4, 12, 30]
        assert report.skipped == []

    def test_folder_in_natural_order_beside_plain_files(self, tmp_path: Path) -> None:
        put(tmp_path, "m_10.xyz", gdb9(10))
        put(tmp_path, "m_9.xyz", gdb9(9))
        put(tmp_path, "z.xyz", WATER)
        properties = read_molecules(tmp_path).molecules.properties
        np.testing.assert_array_equal(properties["index"], [9, 10, np.nan])

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            (gdb9().replace("\t6.002", ""), "must hold a number and 15 properties, not 15 values"),
            (gdb9().replace("6.002", "six"), "not a number (could not convert string to float: 'six')"),
            (gdb9(index=10**20), "holds something that is not a number"),
            (gdb9().replace("O1\tO\n", ""), "no line or 3 (frequencies, SMILES, InChI), not 2"),
        ],
    )
    def test_bad_header_or_trailer(self, tmp_path: Path, text: str, sentence: str) -> None:
        put(tmp_path, "a.xyz", text)
        put(tmp_path, "b.xyz", gdb9(8))
        report = read_molecules(tmp_path)
        assert report.molecules.properties["index"].tolist() == [8]
        assert [s.name for s in report.skipped] == ["a.xyz, molecule 1 (line 1)"]
        assert sentence in report.skipped[0].reason

    def test_exclusion_list(self, tmp_path: Path) -> None:
        for index in (3, 12, 61, 3054):
            put(tmp_path, f"{index}.xyz", gdb9(index))
        listed = put(tmp_path, "uncharacterized.txt", f"Of 3054 molecules\n====\n# Index SMILES\n{EXCLUDED}\n====\n")
        report = read_molecules(tmp_path, exclude=listed)
        assert report.molecules.properties["index"].tolist() == [12, 3054]
        assert (report.excluded, report.skipped) == (2, [])

    def test_exclusion_list_mistakes(self, tmp_path: Path) -> None:
        source, numbers = put(tmp_path, "a.xyz", gdb9(3)), put(tmp_path, "list.txt", "3\n")
        with pytest.raises(DataError, match=r"takes out all 1 molecules of .*a\.xyz"):
            read_molecules(source, exclude=numbers)
        with pytest.raises(DataError, match=r"nope\.txt cannot be read \(No such file"):
            read_molecules(source, exclude=tmp_path / "nope.txt")
        with pytest.raises(DataError, match="no line that begins with a GDB9 number"):
            read_molecules(source, exclude=put(tmp_path, "prose.txt", "nothing here\n3rd molecule\n"))
        with pytest.raises(DataError, match=r"w\.xyz has no GDB9 numbers \(property 'index'\), so"):
            read_molecules(put(tmp_path, "w.xyz", WATER), exclude=numbers)
        with pytest.raises(DataError, match=r"t\.xyz has no GDB9 numbers"):
            read_molecules(put(tmp_path, "t.xyz", WATER.replace("3\n\n", "3\nindex=gdb3\n")), exclude=numbers)

    def test_several_molecules_in_a_file_and_a_list_that_an_editor_saved(self, tmp_path: Path) -> None:
        listed = tmp_path / "list.txt"
        listed.write_bytes("\ufeff21\r\n58\r\n".encode())
        report = read_molecules(put(tmp_path, "a.xyz", gdb9(21) + gdb9(22) + gdb9(58)), exclude=listed)
        assert report.molecules.properties["index"].tolist() == [22]


EXCLUDED = "      3     O     O    1.5\n     61   NC(=N)C=O   5.631463"


def add(tar: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(text.encode())
    tar.addfile(info, io.BytesIO(text.encode()))


class TestBadRecords:
    @pytest.mark.parametrize(
        ("frame", "sentence"),
        [
            (WATER.replace("0.1173", "nan"), "a coordinate is not a finite number."),
            (WATER.replace("0.1173", "-inf"), "a coordinate is not a finite number."),
            (WATER.replace("0.1173", "1e300"), "a coordinate is not a finite number."),
            (WATER.replace("O ", "Xx "), "'Xx' is not an element symbol."),
            (WATER.replace("O ", "0 "), "'0' is not an element symbol or atomic number."),
            (WATER.replace("O ", "119 "), "'119' is not an element symbol or atomic number."),
            (WATER.replace("0.1173", "up"), "line 8 must be 'element x y z', not 'O 0.0 0.0 up'."),
            (WATER.replace(" 0.1173", ""), "line 8 must be 'element x y z', not 'O 0.0 0.0'."),
            (WATER.replace("3\n", "4\n", 1), "it should have 4 atoms, but only 3 lines follow."),
            (WATER.replace("3\n", "2\n", 1), "it should have 2 atoms, but 3 lines follow."),
            ("3\n", "it should have 3 atoms, but only 0 lines follow."),
            ("0\nnothing\n", "it has no atoms."),
        ],
    )
    def test_xyz_frame_between_good_ones(self, tmp_path: Path, frame: str, sentence: str) -> None:
        report = read_molecules(put(tmp_path, "a.xyz", WATER + frame + ("\n" if frame == "3\n" else "") + WATER))
        assert report.molecules.num_atoms.tolist() == [3, 3]
        assert report.skipped == [("a.xyz, molecule 2 (line 6)", sentence)]

    def test_truncated_at_the_end(self, tmp_path: Path) -> None:
        report = read_molecules(put(tmp_path, "a.xyz", WATER + "\n\n" + WATER[:-23]))
        assert len(report.molecules) == 1
        assert report.skipped == [("a.xyz, molecule 2 (line 8)", "it should have 3 atoms, but only 2 lines follow.")]

    def test_numbers_for_symbols_and_a_number_for_a_comment(self, tmp_path: Path) -> None:
        text = WATER.replace("O ", "8 ").replace("H ", "h ").replace("3\n\n", "3\n42\n")
        report = read_molecules(put(tmp_path, "a.xyz", text + WATER))
        assert report.molecules.charges.tolist() == [8, 1, 1, 8, 1, 1]
        assert report.skipped == []

    @pytest.mark.parametrize(
        ("record", "sentence"),
        [
            ("", "it is empty."),
            ("\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n", "it has no atoms."),
            (molblock(symbol="Xx"), "RDKit cannot parse it (Element 'Xx' not found)."),
            (molblock(symbol="*"), "an atom has no element."),
            (
                molblock(coordinate="       nan"),
                "RDKit cannot parse it (Cannot process coordinates on line 5).",
            ),
            (molblock(coordinate="    0.0000", dimension="2D"), "it has no 3D coordinates."),
            (molblock()[:150], "RDKit cannot parse it ("),
            ("one\ntwo\n", "RDKit cannot parse it ("),
        ],
    )
    def test_sdf_record_between_good_ones(
        self, tmp_path: Path, record: str, sentence: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        good = molblock() + "$$$$\n"
        text = good + record + "$$$$\n" + good
        (tmp_path / "a.sdf.gz").write_bytes(gzip.compress(text.encode()))
        report = read_molecules(tmp_path / "a.sdf.gz")
        assert report.molecules.num_atoms.tolist() == [3, 3]
        assert [s.name for s in report.skipped] == ["a.sdf.gz, molecule 2 (line 12)"]
        assert report.skipped[0].reason.startswith(sentence)
        assert capfd.readouterr().err == ""  # RDKit's log is silenced

    def test_sdf_fields(self, tmp_path: Path) -> None:
        fields = {"long": 10**20, "gap": 0.5, "SMILES": "O", "note": 1, "charges": 2}
        first = molblock() + "".join(f"> <{key}>\n{value}\n\n" for key, value in fields.items()) + "$$$$\n"
        second = molblock() + "> <note>\nfine\n\n"  # no end mark
        report = read_molecules(put(tmp_path, "a.sdf", first + second))
        properties = report.molecules.properties
        # `charges` is a name of the store itself.
        assert set(properties) == {"name", "long", "gap", "smiles", "note", "charges_"}
        assert properties["note"].tolist() == ["1", "fine"]
        np.testing.assert_array_equal(properties["long"], [1e20, np.nan])
        np.testing.assert_array_equal(properties["gap"], [0.5, np.nan])
        assert properties["smiles"].tolist() == ["O", ""]
        save_npz(report.molecules, tmp_path / "a.npz")
        assert len(read_molecules(tmp_path / "a.npz").molecules) == 2

    def test_npz_values(self, tmp_path: Path) -> None:
        positions = np.zeros((6, 3))
        positions[3, 1] = np.nan
        save_npz(MoleculeSet(np.array([2, 2, 1, 1]), np.array([1, 1, 1, 1, 0, 6]), positions), tmp_path / "a.npz")
        report = read_molecules(tmp_path / "a.npz")
        assert report.molecules.charges.tolist() == [1, 1, 6]
        assert report.skipped == [
            ("a.npz, molecule 2", "a coordinate is not a finite number."),
            ("a.npz, molecule 3", "an atom has no element."),
        ]


class TestParquet:
    @pytest.mark.parametrize("layout", ["flat", "nested", "fixed"])
    def test_layouts_and_bad_rows(self, tmp_path: Path, layout: str) -> None:
        flat = [[0.0] * 6, None, [0.0] * 3, [1.0, 2.0, 1e300], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0], []]
        nested = [row and [row[i : i + 3] for i in range(0, len(row), 3)] for row in flat]
        kinds = {"flat": pa.list_(pa.float64()), "nested": pa.list_(pa.list_(pa.float32()))}
        kind = kinds.get(layout, pa.list_(pa.list_(pa.float32(), 3)))
        columns = {
            "elements": [[1, 9], [6], [1, 1], [1], [17], [None], []],
            "positions": pa.array(flat if layout == "flat" else nested, kind),
            "energy": [1.5, 0, 0, 0, None, 0, 0],
            "smiles": ["F", "", "", "", None, "", ""],
            "tags": [["x"]] * 7,
            "flag": [True, None, None, None, None, None, None],
        }
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        report = read_molecules(tmp_path / "a.parquet")
        assert report.molecules.charges.tolist() == [1, 9, 17]
        assert report.molecules.positions[2].tolist() == [1, 2, 3]
        np.testing.assert_array_equal(report.molecules.properties["energy"], [1.5, np.nan])
        assert report.molecules.properties["smiles"].tolist() == ["F", ""]
        np.testing.assert_array_equal(report.molecules.properties["flag"], [1, np.nan])
        assert set(report.molecules.properties) == {"energy", "smiles", "flag"}
        assert dict(report.skipped) == {
            "a.parquet, row 2": "it has 1 elements but 0 coordinates.",
            "a.parquet, row 3": "it has 2 elements but 3 coordinates.",
            "a.parquet, row 7": "it has 0 elements but 0 coordinates.",
            "a.parquet, row 4": "a coordinate is not a finite number.",
            "a.parquet, row 6": "an atom has no element.",
        }

    def test_wrong_tables(self, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table({"elements": [[1]], "gap": [1.0]}), path)
        with pytest.raises(DataError, match=r"lacks the column\(s\) positions; it has elements, gap"):
            read_molecules(path)
        pq.write_table(pa.table({"elements": ["H"], "positions": [[0.0] * 3]}), path)
        with pytest.raises(DataError, match=r"column 'elements' of .* must hold lists of numbers, not string"):
            read_molecules(path)
        pq.write_table(pa.table({"elements": [[1]], "positions": [[0.0] * 3]}).slice(0, 0), path)
        with pytest.raises(DataError, match=r"a\.parquet holds no molecule"):
            read_molecules(path)
        with pytest.raises(DataError, match=r"b\.parquet is not a readable parquet file"):
            read_molecules(put(tmp_path, "b.parquet", "text"))


class TestFatal:
    def test_nothing_at_the_path(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        with pytest.raises(DataError, match=r"nope\.sdf does not exist"):
            read_molecules(tmp_path / "nope.sdf")
        with pytest.raises(DataError, match=r"empty\.xyz is empty"):
            read_molecules(put(tmp_path, "empty.xyz", ""))
        with pytest.raises(DataError, match=r"is a folder without molecule files"):
            read_molecules(tmp_path / "folder")
        with pytest.raises(DataError, match=r"blank\.xyz holds no molecule"):
            read_molecules(put(tmp_path, "blank.xyz", "\n\n"))

    def test_unknown_extension_lists_the_accepted(self, tmp_path: Path) -> None:
        with pytest.raises(DataError) as caught:
            read_molecules(put(tmp_path, "a.csv", "x"))
        for extension in (
            ".npz",
            ".parquet",
            ".sdf",
            ".sdf.gz",
            ".xyz",
            ".tar",
            ".tar.gz",
            ".tar.bz2",
            "folder",
        ):
            assert extension in str(caught.value)

    def test_all_bad_names_the_first(self, tmp_path: Path) -> None:
        bad = WATER.replace("O ", "Xx ")
        with pytest.raises(DataError) as caught:
            read_molecules(put(tmp_path, "a.xyz", bad + bad))
        assert "no usable molecule, all 2 are bad" in str(caught.value)
        assert "a.xyz, molecule 1 (line 1): 'Xx' is not an element symbol." in str(caught.value)

    @pytest.mark.parametrize("name", ["a.sdf.gz", "a.tar.bz2", "a.tar", "a.npz"])
    def test_garbage(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(bytes(range(256)) * 8)
        with pytest.raises(DataError, match=f"{name} (cannot be read|is not a readable)"):
            read_molecules(tmp_path / name)

    @pytest.mark.parametrize("name", ["a.sdf.gz", "a.tar.bz2", "a.tar.gz"])
    def test_cut_off_compression(self, tmp_path: Path, name: str) -> None:
        whole = tmp_path / name
        if name == "a.sdf.gz":
            whole.write_bytes(gzip.compress((molblock() + "$$$$\n").encode() * 50))
        else:
            with tarfile.open(whole, f"w:{name.rpartition('.')[2]}") as tar:
                for index in range(50):
                    add(tar, f"{index}.xyz", gdb9(index))
        whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            read_molecules(whole)

    def test_binary_in_a_text_format(self, tmp_path: Path) -> None:
        (tmp_path / "a.xyz").write_bytes(bytes(range(256)) * 8)
        with pytest.raises(DataError, match="must be the number of atoms"):
            read_molecules(tmp_path / "a.xyz")


class TestWriting:
    def test_unknown_extension(self, tmp_path: Path, molecules: MoleculeSet) -> None:
        with pytest.raises(OutputError, match=r"must end in one of \.npz, \.parquet, \.xyz, \.sdf, \.sdf\.gz"):
            write_molecules(molecules, tmp_path / "a.mol2")

    def test_places_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "a.npz").mkdir()
        with pytest.raises(OutputError, match=r"a\.npz: it is a folder"):
            check_output(tmp_path / "a.npz")
        put(tmp_path, "file", "")
        with pytest.raises(OutputError, match="file is not a folder that you may write to"):
            check_output(tmp_path / "file" / "a.npz")
        check_output(tmp_path / "new" / "folder" / "a.npz")
        assert not (tmp_path / "new").exists()


def test_progress_counts_records(tmp_path: Path) -> None:
    seen: list[int] = []
    read_molecules(put(tmp_path, "a.xyz", WATER * 450), progress=seen.append)
    assert seen == [200, 400, 450]


@pytest.mark.parametrize("extension", [".npz", ".parquet", ".sdf", ".sdf.gz", ".xyz"])
def test_equal_molecules_make_equal_bytes(tmp_path, extension, monkeypatch):
    """Shards of a campaign are compared by their hash; gzip would put the time into its header."""
    molecules = read_molecules(put(tmp_path, "a.xyz", WATER * 3)).molecules
    before = encode_molecules(molecules, extension)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert encode_molecules(molecules, extension) == before
    written = tmp_path / f"again{extension}"
    write_molecules(molecules, written)
    assert written.read_bytes() == before
    assert len(read_molecules(written).molecules) == 3


@needs_shared
def test_real_samples() -> None:
    assert len(read_molecules(RAW / "gdb9").molecules) == 6
    assert len(read_molecules(RAW / "xyz").molecules) == 20
    for path, count in (("Neutral", 20), ("Charged", 5)):
        (file,) = (RAW / "sdf").glob(f"pubLigs{path}*.sdf")
        report = read_molecules(file)
        assert (len(report.molecules), report.skipped) == (count, [])
        assert report.molecules.num_atoms.max() > 20


@needs_shared
def test_real_gdb9_agrees_with_the_store() -> None:
    with np.load(SHARED / "qm9.npz") as store:
        wanted = {name: store[name][:30] for name in ("index", "num_atoms", "gap", "homo")}
        positions = store["positions"][:300]
    sample = read_molecules(RAW / "gdb9").molecules
    for number in (1, 22, 24):
        (row,) = np.flatnonzero(wanted["index"] == number)
        (mine,) = np.flatnonzero(sample.properties["index"] == number)
        start = int(wanted["num_atoms"][:row].sum())
        expected = positions[start : start + int(wanted["num_atoms"][row])]
        np.testing.assert_array_equal(sample.molecule(int(mine))[1], expected)
        for name in ("gap", "homo"):
            assert sample.properties[name][mine] == pytest.approx(wanted[name][row], abs=1e-6)
