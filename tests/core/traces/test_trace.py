"""A trace says who settled when and who paused, survives its file, and a broken file is one sentence."""

from dataclasses import replace

import numpy as np
import pytest

from ead_core.errors import DataError, OutputError
from ead_core.traces.trace import MoleculeTrace, Trace, check_trace_file, load_trace, save_trace

LEVELS = [[4, 4, 4], [3, 3, 3], [3, 2, 2], [2, 1, 2], [1, 1, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0]]


def traced(number=7, levels=LEVELS, charges=(1, 6, 6)):
    levels = np.array(levels, dtype=np.int32)
    rng = np.random.default_rng(number)
    return MoleculeTrace(
        number,
        levels,
        rng.random(levels.shape, dtype=np.float32),
        rng.random((*levels.shape, 3), dtype=np.float32),
        np.broadcast_to(np.array(charges, dtype=np.uint8), levels.shape),
    )


@pytest.fixture
def trace():
    return Trace("small · seed 0", (traced(charges=(1, 0, 6)), traced(9, [[1, 1], [0, 0]], (8, 1))))  # 0: an empty slot


def test_what_is_read_off_the_levels():
    molecule = traced()
    assert molecule.settled.tolist() == [5, 5, 6]
    assert molecule.order.tolist() == [1, 0, 2]  # the second settles with the first, but was ahead of it
    assert molecule.parting == 1
    assert molecule.behind[3].tolist() == [1, 0, 1]
    assert np.argwhere(molecule.paused).tolist() == [[2, 0], [3, 2], [4, 1], [5, 2]]
    assert molecule.formula == "C2H"
    assert traced(0, [[2, 2], [1, 1], [0, 0]], (8, 17)).parting == 0
    assert traced(0, [[2, 2], [1, 1], [0, 0]], (8, 17)).formula == "ClO"
    assert traced(charges=(6, 0, 1)).formula == "CH"
    assert traced(charges=(6, 0, 1)).symbols == ["C", "*", "H"]


def test_a_trace_survives_its_file(trace, tmp_path):
    save_trace(trace, tmp_path / "t.NPZ")
    assert [path.name for path in tmp_path.iterdir()] == ["t.NPZ"]
    loaded = load_trace(tmp_path / "t.NPZ")
    assert loaded.title == trace.title
    for before, after in zip(trace.molecules, loaded.molecules, strict=True):
        for name, value in vars(before).items():
            assert np.array_equal(getattr(after, name), value)
            assert np.asarray(getattr(after, name)).dtype == np.asarray(value).dtype


def test_molecules_are_chosen_by_id(trace):
    assert [molecule.id for molecule in trace.select([9, 7])] == [9, 7]
    many = Trace("", tuple(replace(traced(), id=number) for number in (0, 1, 2, 5, 8, 9)))
    with pytest.raises(DataError, match=r"^the trace has no molecule 3; it holds 0–2, 5, 8–9\.$"):
        many.select([1, 3])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "ead-trace-0"}, "of version ead-trace-0; this program reads ead-trace-1; `ead sample … --trace"),
        ({"format": None}, r"is not a trace \(format: Field required\); `ead sample"),
        ({"title": None}, r"is not a trace \(title: Field required\)"),
        ({"levels": None, "id": None}, r"lacks the array\(s\) id, levels\."),
        ({"id": np.array([7, 7])}, "is damaged: it needs molecules with different ids"),
        ({"id": np.array([7.0, 9.0])}, "is damaged: id, num_atoms and num_frames must be whole numbers"),
        ({"num_atoms": np.array([3])}, "is damaged: id, num_atoms and num_frames must be whole numbers"),
        ({"num_atoms": np.array([3, 1])}, r"is damaged: levels must be int32 \(26,\), not int32 \(28,\)\."),
        ({"positions": np.zeros((28, 2))}, r"is damaged: positions must be float32 \(28, 3\), not float64 \(28, 2\)\."),
        ({"levels": np.zeros(28)}, "is damaged: levels must be int32"),
        ({"levels": np.arange(28, dtype=np.int32)}, "is damaged: the levels of molecule 7 must fall to 0"),
        ({"levels": np.ones(28, dtype=np.int32)}, "is damaged: the levels of molecule 7 must fall to 0"),
        ({"charges": np.full(28, 119, dtype=np.uint8)}, "is damaged: the atomic numbers of molecule 7 must lie"),
        ({"title": np.array([object()])}, "is not a readable trace"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_trace_is_one_sentence(trace, tmp_path, change, sentence):
    path = tmp_path / "t.npz"
    save_trace(trace, path)
    with np.load(path) as arrays:
        changed = {name: value for name, value in {**arrays, **change}.items() if value is not None}
    np.savez(path, **changed)
    with pytest.raises(DataError, match=sentence) as error:
        load_trace(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", None])
def test_what_is_no_trace_at_all_is_one_sentence(tmp_path, content):
    path = tmp_path / "t.npz"
    if content is None:
        np.save(path.open("wb"), np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.npz is not a readable trace"):
        load_trace(path)
    with pytest.raises(DataError, match="does not exist"):
        load_trace(tmp_path / "other.npz")


def test_a_place_that_cannot_be_written_is_found_out_before(tmp_path):
    (tmp_path / "file").touch()
    check_trace_file(tmp_path / "new" / "t.npz")
    for name, sentence in (("t.pkl", "must end in .npz"), ("file/t.npz", "is not a folder that you may write to")):
        with pytest.raises(OutputError, match=sentence):
            check_trace_file(tmp_path / name)
