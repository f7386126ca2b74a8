"""Where data files are found, how sets are split, and what is remembered of them."""

import hashlib
import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from ead_core.data.dataset import (
    Split,
    Statistics,
    compute_statistics,
    file_sha256,
    resolve_data_path,
    split_indices,
)
from ead_core.data.size_moments import SizeMoments
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError


def hydrogens(count: int, **properties: np.ndarray) -> MoleculeSet:
    """So many lone atoms."""
    return MoleculeSet(np.ones(count), np.ones(count), np.zeros((count, 3)), properties)


def assert_partition(split: Split, total: int) -> None:
    joined = np.concatenate([split.train, split.valid, split.test])
    assert sorted(joined.tolist()) == list(range(total))


class TestResolve:
    def test_environment_wins_over_the_working_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data, work = tmp_path / "data", tmp_path / "work"
        for folder in (data, work):
            folder.mkdir()
            (folder / "a.npz").touch()
        (work / "b.npz").touch()
        monkeypatch.chdir(work)
        monkeypatch.setenv("EAD_DATA", str(data))
        assert resolve_data_path("a.npz") == data / "a.npz"
        assert resolve_data_path("b.npz") == work / "b.npz"
        monkeypatch.delenv("EAD_DATA")
        assert resolve_data_path("a.npz") == work / "a.npz"
        assert resolve_data_path(str(data / "a.npz")) == data / "a.npz"

    def test_absent_names_every_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("EAD_DATA", "/some/data")
        with pytest.raises(DataError) as caught:
            resolve_data_path("x.npz")
        assert f"tried /some/data/x.npz and {tmp_path}/x.npz." in str(caught.value)
        monkeypatch.delenv("EAD_DATA")
        with pytest.raises(DataError, match=r"x\.npz \(\$EAD_DATA is not set\)"):
            resolve_data_path("x.npz")
        with pytest.raises(DataError, match=r"file /no/x\.npz does not exist; tried /no/x\.npz\."):
            resolve_data_path("/no/x.npz")


class TestPublishedSplit:
    TOTAL = 130_831

    @pytest.mark.parametrize("kind", ["auto", "published"])
    def test_is_edms(self, kind: Literal["auto", "published"]) -> None:
        """Rebuilt the way EDM does it: every molecule of the sorted list gets its part from one draw."""
        numbers = np.arange(self.TOTAL) * 3 + 5  # with gaps, as the excluded molecules leave them
        shuffled = np.random.default_rng(1).permutation(numbers)
        state = np.random.get_state()  # noqa: NPY002
        np.random.seed(0)  # noqa: NPY002
        permutation = np.random.permutation(self.TOTAL)  # noqa: NPY002
        np.random.set_state(state)  # noqa: NPY002
        part = np.empty(self.TOTAL, dtype="U5")
        for rank, position in enumerate(permutation):
            part[position] = "train" if rank < 100_000 else "valid" if rank < 117_748 else "test"
        split = split_indices(hydrogens(self.TOTAL, index=shuffled), kind, seed=5)
        for name in ("train", "valid", "test"):
            np.testing.assert_array_equal(shuffled[getattr(split, name)], numbers[part == name])
        assert (len(split.train), len(split.valid), len(split.test)) == (100_000, 17_748, 13_083)

    @pytest.mark.parametrize(
        "molecules",
        [
            hydrogens(130_831),
            hydrogens(130_831, index=np.zeros(130_831)),
            hydrogens(130_830, index=np.arange(130_830)),
        ],
        ids=["no index", "repeated index", "wrong count"],
    )
    def test_where_it_does_not_apply(self, molecules: MoleculeSet) -> None:
        with pytest.raises(DataError, match="needs QM9's 130,831 molecules with distinct GDB9 numbers"):
            split_indices(molecules, "published")
        automatic, seeded = split_indices(molecules, "auto", 3), split_indices(molecules, "seeded", 3)
        np.testing.assert_array_equal(automatic.test, seeded.test)


class TestSeededSplit:
    @pytest.mark.parametrize(
        ("total", "expected"),
        [
            (0, (0, 0, 0)),
            (1, (1, 0, 0)),
            (2, (1, 1, 0)),
            (3, (1, 1, 1)),
            (10, (8, 1, 1)),
            (1000, (800, 100, 100)),
        ],
    )
    def test_sizes(self, total: int, expected: tuple[int, int, int]) -> None:
        split = split_indices(hydrogens(total), "seeded", 0)
        assert (len(split.train), len(split.valid), len(split.test)) == expected
        assert_partition(split, total)
        assert (np.diff(split.train) > 0).all()

    def test_depends_on_the_seed_alone(self) -> None:
        first, again, other = (split_indices(hydrogens(500), "seeded", seed).test for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_conformers_stay_together(self) -> None:
        names = np.random.default_rng(0).choice([f"drug {i}" for i in range(50)], size=400)
        split = split_indices(hydrogens(400, molecule=names), "seeded", 0)
        assert_partition(split, 400)
        sides = [set(names[part].tolist()) for part in (split.train, split.valid, split.test)]
        assert [len(side) for side in sides] == [40, 5, 5]
        assert len(set.union(*sides)) == 50

    @pytest.mark.parametrize(
        "names", [["CCO", "CCN"] + [""] * 18, [7.0, 8.0] + [np.nan] * 18, [""] * 20, [np.nan] * 20]
    )
    def test_molecules_without_a_name_are_groups_of_their_own(self, names: list[str]) -> None:
        split = split_indices(hydrogens(20, molecule=np.array(names)), "seeded", 0)
        assert [len(part) for part in (split.train, split.valid, split.test)] == [16, 2, 2]
        assert_partition(split, 20)

    def test_other_arrays_are_no_names(self) -> None:
        matrix = split_indices(hydrogens(20, molecule=np.ones((20, 3))), "seeded", 0)
        np.testing.assert_array_equal(matrix.test, split_indices(hydrogens(20), "seeded", 0).test)

    def test_text_numbers_make_no_published_split(self) -> None:
        index = np.arange(TestPublishedSplit.TOTAL).astype(str)
        with pytest.raises(DataError, match="needs QM9's"):
            split_indices(hydrogens(len(index), index=index), "published")


class TestStatistics:
    MOLECULES = MoleculeSet(np.array([3, 2, 3]), np.array([8, 1, 1, 9, 1, 1, 1, 8]), np.zeros((8, 3)))

    def statistics(self) -> Statistics:
        return compute_statistics(self.MOLECULES, name="tiny", sha256="abc")

    def test_content(self) -> None:
        moments = {2: SizeMoments(0.0, (1, 0, 1)), 3: SizeMoments(0.0, (4, 2, 0))}
        assert self.statistics() == Statistics((1, 8, 9), {2: 1, 3: 2}, 3, "tiny", "abc", moments=moments)
        sizes, probabilities = self.statistics().size_distribution()
        assert sizes.tolist() == [2, 3]
        np.testing.assert_allclose(probabilities, [1 / 3, 2 / 3])

    def test_json_round_trip(self) -> None:
        text = json.dumps(self.statistics().to_json())
        assert Statistics.from_json(json.loads(text)) == self.statistics()

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"name": None}, r"name: Field required"),
            ({"sizes": [1, 2]}, r"sizes: Input should be a valid dictionary"),
            ({"sizes": {"two": 3}}, r"sizes.*: Input should be a valid integer"),
            ({"sizes": {"2": 2}}, r"\(sizes add up to 2 molecules, but num_molecules is 3\)\.$"),
            ({"schema_version": 2}, r"^it is the statistics of training data of version 2; this program reads 1\.$"),
            ({"properties": [{"mean": 1}]}, r"properties: must each have a name"),
            ({"properties": [7]}, r"properties: must each have a name"),
            ({"sizes": {"0": 3}}, "positive counts of positive sizes"),
            ({"sizes": {}}, "positive counts of positive sizes"),
            ({"atom_numbers": [8, 1]}, "must be distinct, ascending and positive"),
            ({"atom_numbers": [0, 1]}, "must be distinct, ascending and positive"),
            ({"atom_numbers": []}, "must be distinct, ascending and positive"),
        ],
    )
    def test_wrong_documents(self, change: dict[str, object], sentence: str) -> None:
        document = {**self.statistics().to_json(), **change}
        kept = {key: value for key, value in document.items() if value is not None}
        with pytest.raises(DataError, match=sentence):
            Statistics.from_json(kept, "it")

    def test_first_documents_have_no_version(self) -> None:
        document = self.statistics().to_json()
        assert document.pop("schema_version") == 1
        assert Statistics.from_json(document) == self.statistics()

    def test_sha256(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"molecules")
        assert file_sha256(tmp_path / "a") == hashlib.sha256(b"molecules").hexdigest()
