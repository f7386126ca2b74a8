"""JSON from outside is read within limits, and every reader of it ends with one sentence."""

from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field

from ead_core.common import documents
from ead_core.common.documents import Document, Packed, parse_json, read_bytes, read_json
from ead_core.errors import DataError, EADError, VersionError
from ead_core.evaluation.card import Card
from ead_core.prediction.calibration import load_calibration


class Header(Document):
    """Of a file of arrays."""

    kind: ClassVar[str] = "a thing"

    version: Literal["thing-1", "thing-2"] = Field("thing-2", alias="format")
    count: int
    names: Annotated[tuple[str, ...], Packed] = ()


def test_a_header_is_text_and_comes_back():
    header = Header(count=3, names=("a", 'b"'))
    texts = header.to_texts()
    assert texts == {"format": "thing-2", "count": "3", "names": '["a", "b\\""]'}
    assert Header.parse(texts, "it") == Header(version="thing-2", count=3, names=("a", 'b"'))
    assert Header.parse({"count": "3", "later": "x"}, "it").names == ()


def test_an_array_of_numbers_takes_one_line_and_texts_stay_what_they_are(tmp_path):
    class Table(Document):
        kind: ClassVar[str] = "a table"

        version: Literal[1] = 1
        numbers: tuple[float, ...]
        rows: tuple[tuple[int, ...], ...]
        text: str

    table = Table(numbers=(1.5, -2e-9), rows=((1, 2), ()), text='"[ 1,\n 2 ]" \\')
    table.save(tmp_path / "table.json")
    assert Table.load(tmp_path / "table.json") == table
    lines = (tmp_path / "table.json").read_text().splitlines()
    assert ' "numbers": [1.5, -2e-09],' in lines
    assert "  [1, 2]," in lines


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        ({"format": "thing-3"}, "it is a thing of version thing-3; this program reads thing-1 and thing-2."),
        ({"format": "thing-2"}, "it is not a thing (count: Field required)."),
        ({"count": "1", "names": "{}"}, "it is not a thing (names: Input should be a valid tuple)."),
        ([], "it is not a thing."),
    ],
)
def test_another_document_is_one_sentence(stored, sentence):
    with pytest.raises(DataError) as refused:
        Header.parse(stored, "it")
    assert str(refused.value) == sentence
    assert isinstance(refused.value, VersionError) == ("version" in sentence)


def test_documents_are_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": [1, {"b": null}], "a b": "\xc3\xa9"}')
    assert read_json(tmp_path / "a.json") == {"a": [1, {"b": None}], "a b": "é"}
    assert parse_json("[" * 100 + "]" * 100, "it") is not None


@pytest.mark.parametrize("text", ["[" * 101 + "]" * 101, '{"a":' * 300 + "1" + "}" * 300, "[" * 10**6, '{"a":' * 10**5])
def test_what_is_nested_without_end_is_one_sentence(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json is nested deeper than 100 levels, the most for a document\.$"):
        read_json(tmp_path / "a.json")


def test_what_is_too_large_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("[" + "1," * 2000 + "1]")
    monkeypatch.setattr(documents, "ITEMS", 1000)
    with pytest.raises(DataError, match=r"a\.json holds more than 1,000 values, the most for a document\.$"):
        read_json(tmp_path / "a.json")
    with (tmp_path / "b.json").open("wb") as file:
        file.truncate(2**40)  # a hole
    with pytest.raises(DataError, match=r"b\.json is larger than 1 MiB, the most for a file of its kind\.$"):
        read_bytes(tmp_path / "b.json", 2**20)


def test_readers_of_documents_hand_the_sentence_on(tmp_path):
    for name in ("card.json", "calibration.json"):
        (tmp_path / name).write_text("[" * 10**5)
    for read in (lambda: Card.load(tmp_path / "card.json"), lambda: load_calibration(tmp_path, "")):
        with pytest.raises(EADError, match="nested deeper than 100 levels"):
            read()
