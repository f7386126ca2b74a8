"""Text is read whatever its encoding and line ends, packed or not, and within limits."""

import bz2
import gzip

import pytest

from ead_core.data import texts
from ead_core.data.formats import read_molecules
from ead_core.data.gdb9 import read_exclusions
from ead_core.data.texts import open_text, read_text
from ead_core.errors import DataError

WATER = "3\n{}\nO 0.0 0.0 0.1173\nH 0.0 0.7572 -0.4692\nH 0.0 -0.7572 -0.4692\n"


def lines_of(path):
    with open_text(path) as lines:
        return list(lines)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xef\xbb\xbf9\nmark\n", ["9\n", "mark\n"]),
        ("éthanol\n".encode(), ["éthanol\n"]),
        ("éthanol\n".encode("latin-1"), ["éthanol\n"]),
        ("éthanol – 5 µm ½\n".encode("cp1252"), ["éthanol – 5 µm ½\n"]),
        ("é".encode() + b" \xe9\n", ["é é\n"]),
        (b"a\x81b\n", ["a\ufffdb\n"]),  # no character in either encoding
        (b"page\x0cbreak\xc2\x85next\xe2\x80\xa8one\n", ["page\x0cbreak\x85next\u2028one\n"]),
        (b"1\r\n2\r3\n4", ["1\n", "2\n", "3\n", "4"]),
        (b"", []),
        (b"\n\n", ["\n", "\n"]),
    ],
)
def test_lines_and_letters(tmp_path, content, expected):
    (tmp_path / "a.txt").write_bytes(content)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(content))
    (tmp_path / "a.txt.BZ2").write_bytes(bz2.compress(content))
    for name in ("a.txt", "a.txt.gz", "a.txt.BZ2"):
        assert lines_of(tmp_path / name) == expected


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_other_unicode_is_told(tmp_path, encoding):
    (tmp_path / "a.xyz").write_bytes(WATER.format("water").encode(encoding))
    with pytest.raises(DataError, match=r"a\.xyz is UTF-16 or UTF-32 text; save it as UTF-8\.$"):
        read_molecules(tmp_path / "a.xyz")


@pytest.mark.parametrize("comment", ["\x0c", "a\x0bb", "a\x85b", "a\u2028b", "a\x1cb"])
def test_only_line_ends_end_lines_of_molecules(tmp_path, comment):
    (tmp_path / "a.xyz").write_text(WATER.format(comment) + WATER.format(""), encoding="utf-8")
    report = read_molecules(tmp_path / "a.xyz")
    assert (len(report.molecules), report.skipped) == (2, [])


def test_lists_with_a_byte_order_mark(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf22\n58\n")
    assert read_exclusions(tmp_path / "list.txt") == {22, 58}


def test_a_line_without_end_is_told_and_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "LINE", 1000)
    (tmp_path / "a.xyz").write_bytes(b"3\n" + b"x" * 10**6)
    with pytest.raises(DataError, match=r"line 2 of .*a\.xyz is longer than 1,000 characters, the most for a line\.$"):
        read_molecules(tmp_path / "a.xyz")
    (tmp_path / "b.xyz").write_bytes(b"x" * 999 + b"\n")
    assert lines_of(tmp_path / "b.xyz") == ["x" * 999 + "\n"]


def test_a_list_without_end_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "DOCUMENT", 2**20)
    (tmp_path / "list.txt").write_bytes(b"12345678\n" * 2**17)
    with pytest.raises(DataError, match=r"list\.txt has more than 1 MiB of text, the most for what it should hold"):
        read_text(tmp_path / "list.txt")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("content", [bytes(10**6), b"\n" * 10**6, WATER.format("").encode() * 3000])
def test_packed_text_that_grows_without_bound_is_told(tmp_path, monkeypatch, pack, content):
    monkeypatch.setattr(texts, "ALWAYS", 10**5)
    name = f"a.xyz.{'gz' if pack is gzip.compress else 'bz2'}"
    (tmp_path / name).write_bytes(pack(content))
    with pytest.raises(DataError, match=rf"{name} unpacks to more than 50 times its size, the most that is read\.$"):
        read_molecules(tmp_path / name)


def test_small_packed_files_may_be_as_uniform_as_they_like(tmp_path):
    (tmp_path / "a.xyz.gz").write_bytes(gzip.compress(WATER.format("").encode() * 500))
    assert len(read_molecules(tmp_path / "a.xyz.gz").molecules) == 500


@pytest.mark.parametrize(("name", "line"), [("a.sdf", "a line of text\n"), ("a.xyz", "H 0 0 0\n"), ("a.mol", "x\n")])
def test_a_molecule_without_end_is_told(tmp_path, monkeypatch, name, line):
    for module in ("sdf", "xyz"):
        monkeypatch.setattr(f"ead_core.data.{module}.RECORD", 10**5)
    (tmp_path / name).write_text("3\n\n" + line * 10**5)
    with pytest.raises(DataError, match=rf"the molecule at line 1 of {name} has more than 16 MiB of text"):
        read_molecules(tmp_path / name)
