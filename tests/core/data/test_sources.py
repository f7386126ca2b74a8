"""One rule says what is read of a folder or an archive, for every command, and what is left is told."""

import bz2
import gzip
import io
import json
import re
import tarfile
import warnings
import zipfile

import numpy as np
import pytest

from ead_core.data import archives, texts
from ead_core.data.formats import read_molecules, write_molecules
from ead_core.data.sources import kind_of
from ead_core.data.store import MoleculeSet
from ead_core.data.streams import read_batches
from ead_core.errors import DataError
from ead_core.notes import Note
from ead_core.sampling.fragment_file import read_fragment

WATER = "3\n\nO 0.0 0.0 0.1173\nH 0.0 0.7572 -0.4692\nH 0.0 -0.7572 -0.4692\n"
HYDROGEN = "2\n\nH 0 0 0\nH 0 0 0.74\n"
MOLFILE = (
    "methyl\n     RDKit          3D\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n"
    "    0.0000    0.0000    0.0000 C   0  0\n    0.1162    1.0860    0.0070 H   0  0\n  1  2  1  0\nM  END\n"
)
SDF = MOLFILE + "> <mu>\n1.5\n\n$$$$\n" + MOLFILE + "$$$$\n"
ENDINGS = [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".zip"]


def pack(path, files):
    """An archive of (name, content) pairs; content None is a symbolic link, 'hard' a hard one to the first."""
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files:
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o120777 << 16 if content is None else 0
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, "/etc/passwd" if content is None else content)
        return path
    mode = {".tar": "", ".tar.gz": "gz", ".tgz": "gz", ".tar.bz2": "bz2", ".tbz2": "bz2"}
    with tarfile.open(path, f"w:{mode[archives.archive_of(path.name)]}") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            if content is None or content == "hard":
                info.type = tarfile.LNKTYPE if content else tarfile.SYMTYPE
                info.linkname = files[0][0] if content else "/etc/passwd"
                archive.addfile(info)
            else:
                data = content.encode() if isinstance(content, str) else content
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


def shards(folder, num, listed, there):
    """A folder of shards of two molecules, with the part of an index that says which there are."""
    folder.mkdir(exist_ok=True)
    names = [f"shard-{number:05d}.parquet" for number in range(9)]
    molecules = MoleculeSet.from_lists([np.array([1, 1])] * 2, [np.array([[0, 0, 0], [0, 0, 0.74]])] * 2)
    for number in there:
        write_molecules(molecules, folder / names[number])
    index = {"version": 2, "question": {"shard_size": 2}, "num": num, "shards": [{"name": names[n]} for n in listed]}
    (folder / "index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    ("num", "listed", "there", "missing"),
    [
        (5, [0, 1, 2], [0, 2], "lacks 1 of the 3 shards that its index.json names (shard-00001.parquet first);"),
        (8, [0, 1], [0, 1], "lacks 2 of the 4 shards that its index.json names (shard-00002.parquet first);"),
        (0, [0, 1], [0], "lacks 1 of the 2 shards that its index.json names (shard-00001.parquet first);"),
    ],
    ids=["deleted", "never made", "rebuilt index"],
)
def test_missing_shards_are_told(tmp_path, num, listed, there, missing):
    with pytest.warns(Note, match=re.escape(missing)):
        assert both_ways(shards(tmp_path, num, listed, there)) == [2] * 2 * len(there)


@pytest.mark.parametrize("index", [None, "{", "[]", '{"version": 3}', '{"version": 2, "num": 9}'])
def test_a_whole_folder_of_shards_is_read_without_a_word_and_one_with_another_index_too(tmp_path, index):
    folder = shards(tmp_path, 3, [0, 1], [0, 1])
    if index is not None:
        (folder / "index.json").write_text(index)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert both_ways(folder) == [2] * 4


def both_ways(source):
    """Sizes of the molecules when read whole and when read as a stream, which are the same."""
    whole = read_molecules(source).molecules.num_atoms.tolist()
    parts = [size for report in read_batches([source], 1) for size in report.molecules.num_atoms.tolist()]
    assert parts == whole
    return whole


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("a.SDF", ".sdf"), ("a.sd", ".sdf"), ("a.sdf.gz", ".sdf"), ("a.mol", ".mol"), ("a.mol.bz2", ".mol")),
        *(("a.b.xyz", ".xyz"), ("a.extxyz", ".xyz"), ("a.xyz.GZ", ".xyz"), ("a.npz", ".npz"), ("a.npz.gz", "")),
        *(("a.parquet", ".parquet"), ("a.parquet.gz", ""), ("xyz", ""), (".xyz", ""), ("a.gz", ""), ("a.mol2", "")),
    ],
)
def test_kinds_by_name(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    ("name", "content", "sizes"),
    [
        ("a.mol", MOLFILE, [2]),
        ("a.mol.gz", gzip.compress(MOLFILE.encode(), mtime=0), [2]),
        ("a.sdf.bz2", bz2.compress(SDF.encode()), [2, 2]),
        ("a.xyz.gz", gzip.compress((WATER + HYDROGEN).encode(), mtime=0), [3, 2]),
        ("a.extxyz", WATER, [3]),
    ],
)
def test_packed_files_and_molfiles(tmp_path, name, content, sizes):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert both_ways(tmp_path / name) == sizes


def test_a_molfile_is_a_fragment(tmp_path):
    (tmp_path / "part.mol").write_text(MOLFILE)
    assert read_fragment(tmp_path / "part.mol").charges.tolist() == [6, 1]


@pytest.mark.parametrize("ending", ENDINGS)
def test_archives_hold_any_text_also_packed(tmp_path, ending):
    files = [("x/m10.xyz", WATER), ("x/m9.xyz.gz", gzip.compress(HYDROGEN.encode())), ("x/.m1.xyz", "hidden")]
    assert both_ways(pack(tmp_path / f"a{ending}", files)) == [2, 3]
    assert both_ways(pack(tmp_path / f"b{ending}", [("b.sdf", SDF), ("a.sdf", SDF)])) == [2, 2, 2, 2]


@pytest.mark.parametrize("ending", ENDINGS)
def test_of_an_archive_with_several_kinds_one_is_read_and_told(tmp_path, ending):
    files = [("a.xyz", WATER), ("b.sdf", SDF), ("c.xyz", WATER), ("readme.txt", "?"), ("d.parquet", b"PAR1")]
    source = pack(tmp_path / f"a{ending}", files)
    sentence = r"a\S+ only the \.sdf files are read \(1\); left out: \.parquet \(1\), \.xyz \(2\)\.$"
    for _ in range(2):
        with pytest.warns(Note, match=sentence):
            assert both_ways(source) == [2, 2]


@pytest.mark.parametrize("ending", ENDINGS)
def test_links_in_archives_are_told_and_never_followed(tmp_path, ending):
    files = [("a.xyz", WATER), ("b.xyz", None), *([("c.xyz", "hard")] * (ending != ".zip"))]
    count = len(files) - 1
    with pytest.warns(
        Note, match=rf"only the \.xyz files are read \(1\); left out: links and special files \({count}\)"
    ):
        assert both_ways(pack(tmp_path / f"a{ending}", files)) == [3]


def test_a_folder_is_read_by_the_same_rule(tmp_path):
    (tmp_path / "a.xyz").write_text(WATER)
    (tmp_path / "b.sdf").write_text(SDF)
    (tmp_path / "c.tar").write_text("")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "d.xyz").write_text(WATER)
    (tmp_path / "results").mkdir()
    told = r"only the \.sdf files are read \(1\); left out: \.tar \(1\), \.xyz \(1\), folders in it \(1\)\.$"
    with pytest.warns(Note, match=told):
        assert both_ways(tmp_path) == [2, 2]


def test_tables_come_before_texts_in_a_folder_and_are_joined(tmp_path):
    (tmp_path / "a.xyz").write_text(WATER)
    molecules = read_molecules(tmp_path / "a.xyz").molecules
    for name in ("shard-10.parquet", "shard-9.parquet", "b.npz"):
        write_molecules(molecules, tmp_path / name)
    with pytest.warns(Note, match=r"only the \.parquet files are read \(2\); left out: \.npz \(1\), \.xyz \(1\)\.$"):
        report = read_molecules(tmp_path)
    assert report.names == ["shard-9.parquet, row 1", "shard-10.parquet, row 1"]
    assert report.molecules.num_atoms.tolist() == [3, 3]


def test_of_a_file_and_its_packed_twin_one_is_read(tmp_path):
    (tmp_path / "a.xyz").write_text(WATER)
    (tmp_path / "a.xyz.gz").write_bytes(gzip.compress(WATER.encode()))
    (tmp_path / "b.xyz.gz").write_bytes(gzip.compress(HYDROGEN.encode()))
    with pytest.warns(Note, match=r"files are read \(2\); left out: packed \.xyz of the same name \(1\)\.$"):
        assert both_ways(tmp_path) == [3, 2]


def test_a_folder_of_one_kind_needs_no_word(tmp_path, recwarn):
    (tmp_path / "a.xyz").write_text(WATER)
    (tmp_path / "card.json").write_text("{}")
    assert both_ways(tmp_path) == [3]
    assert not recwarn.list


def test_folders_and_archives_without_molecules_are_told(tmp_path):
    (tmp_path / "inner").mkdir()
    with pytest.raises(
        DataError, match=r"is a folder without molecule files \(\.parquet, \.npz, \.sdf, \.mol, \.xyz\)"
    ):
        read_molecules(tmp_path)
    (tmp_path / "inner" / "a.xyz").write_text(WATER)
    with pytest.raises(DataError, match=r"has molecule files only in its 1 folders, which are not looked into; name"):
        read_molecules(tmp_path)
    pack(tmp_path / "a.tar", [("readme.txt", "?"), ("a.npz", b"PK")])
    with pytest.raises(DataError, match=r"is a folder that holds archives but no molecule files"):
        read_molecules(tmp_path)
    with pytest.raises(DataError, match=r"a\.tar holds no \.sdf, \.mol, \.xyz file with a molecule\.$"):
        read_molecules(tmp_path / "a.tar")


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz", ".tar.bz2", ".zip"])
@pytest.mark.parametrize("name", ["a.xyz", "skipped.bin"])
def test_archives_that_grow_without_bound_are_told(tmp_path, monkeypatch, ending, name):
    monkeypatch.setattr(texts, "ALWAYS", 10**5)
    monkeypatch.setattr(archives, "ALWAYS", 10**5)
    source = pack(tmp_path / f"a{ending}", [(name, bytes(10**6)), ("b.xyz", WATER)])
    with pytest.raises(DataError, match=r"a\.\S+ unpacks to more than 50 times its size, the most that is read\.$"):
        read_molecules(source)


def test_a_packed_member_that_grows_without_bound_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "ALWAYS", 10**5)
    source = pack(tmp_path / "a.tar", [("a.xyz.gz", gzip.compress(bytes(10**7)))])
    with pytest.raises(DataError, match=r"a\.tar: a\.xyz\.gz unpacks to more than 50 times its size"):
        read_molecules(source)


@pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_without_end_are_told(tmp_path, layout):
    for length, path in ((300, tmp_path / "a.tar"), (3 * 10**6, tmp_path / "b.tar")):
        with tarfile.open(path, "w", format=layout) as archive:
            for name in ("x" * length + ".xyz", "b.xyz"):
                info = tarfile.TarInfo(name)
                info.size = len(WATER)
                archive.addfile(info, io.BytesIO(WATER.encode()))
    with pytest.warns(Note, match=r"files are read \(1\); left out: files with too long names \(1\)\.$"):
        assert both_ways(tmp_path / "a.tar") == [3]
    with pytest.raises(DataError, match=r"b\.tar cannot be read \(it describes a member in more than 1,048,576 bytes"):
        read_molecules(tmp_path / "b.tar")


def test_a_damaged_header_in_the_middle_is_no_end(tmp_path):
    source = pack(tmp_path / "a.tar", [("a.xyz", WATER), ("b.xyz", WATER)])
    content = bytearray(source.read_bytes())
    content[1024:1034] = b"\xff" * 10
    source.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tar cannot be read \(bad checksum\)"):
        read_molecules(source)


def test_a_zip_archive_that_cannot_be_read_is_told(tmp_path):
    source = pack(tmp_path / "a.zip", [("a.xyz", WATER)])
    content = bytearray(source.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 8] |= 1  # encrypted
    content[6] |= 1
    source.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip cannot be read \(.*encrypted"):
        read_molecules(source)
    with zipfile.ZipFile(source, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.xyz", WATER)
    with pytest.raises(DataError, match="is packed in another way than deflate or bzip2"):
        read_molecules(source)
