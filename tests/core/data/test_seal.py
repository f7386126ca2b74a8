"""Flipped bits in parquet files: each is noticed, or changes nothing that is read."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ead_core.data.frames import read_frame
from ead_core.data.parquet import load_parquet, molecules_of, parquet_batches, parquet_entries, write_parquet
from ead_core.data.seal import KEY, check_seal
from ead_core.data.store import MoleculeSet
from ead_core.errors import DataError
from ead_core.evaluation.columns import Columns

SIZES = [5, 6, 7]


@pytest.fixture
def molecules():
    generator = np.random.default_rng(0)
    properties = {"id": np.arange(3), "gap": np.array([1.5, np.nan, 3]), "smiles": np.array(["C", "", "CO"])}
    charges = [generator.choice([1, 6, 8], size=n) for n in SIZES]
    return MoleculeSet.from_lists(charges, [generator.normal(size=(n, 3)) for n in SIZES], properties)


@pytest.fixture
def file(molecules, tmp_path):
    write_parquet(molecules, tmp_path / "m.parquet", {"ead.about": "three molecules"})
    return tmp_path / "m.parquet"


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def whole(path):
    return load_parquet(path).molecules


def in_batches(path):
    return MoleculeSet.concatenate([molecules_of(rows, path).molecules for rows in parquet_batches(path, 2)])


def assert_same(found, wanted):
    assert list(found.properties) == list(wanted.properties)
    for name in ("num_atoms", "charges", "positions"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name))
    for name, values in wanted.properties.items():
        assert found.properties[name].dtype == values.dtype
        assert np.array_equal(found.properties[name], values, equal_nan=values.dtype.kind == "f")


@pytest.mark.parametrize("read", [whole, in_batches])
def test_every_flipped_bit_is_noticed_or_harmless(file, read):
    content, wanted = file.read_bytes(), read(file)
    seal = content.rindex(KEY.encode())
    bits = np.random.default_rng(1).integers(8 * len(content), size=80).tolist()
    bits += range(8 * (seal - 2), 8 * (seal + 100), 7)  # the seal itself
    noticed = 0
    for bit in bits:
        file.write_bytes(flipped(content, bit))
        try:
            found = read(file)
        except DataError:
            noticed += 1
        else:
            assert seal <= bit // 8 < seal + 100
            assert_same(found, wanted)
    assert noticed > 70


def test_pages_have_checksums_of_their_own(file):
    """For readers that know no seals, such as pandas, and for damage that hits the seal as well."""
    content = file.read_bytes()
    chunk = pq.read_metadata(file).row_group(0).column(1)
    bit = 8 * (chunk.data_page_offset + 60)
    for seal_too in (False, True):
        changed = flipped(content, bit)
        file.write_bytes(changed.replace(KEY.encode(), b"ead.seel") if seal_too else changed)
        with pytest.raises(OSError, match="CRC checksum verification failed"):
            pd.read_parquet(file, page_checksum_verification=True)
        with pytest.raises(DataError, match="is damaged" if not seal_too else "CRC checksum verification failed"):
            whole(file)


@pytest.mark.parametrize("cut", [1, 8, 100, 1000])
def test_a_file_that_is_cut_off_is_noticed(file, cut):
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(DataError, match="not a readable parquet file"):
        whole(file)


def test_a_table_that_another_program_wrote_anew_is_read_though_the_seal_is_an_old_one(file, molecules):
    table = pq.read_table(file)
    entries = {**pq.read_metadata(file).metadata}
    pq.write_table(table.replace_schema_metadata(entries).append_column("mu", pa.array([1.0, 2.0, 3.0])), file)
    assert KEY.encode() in pq.read_metadata(file).metadata
    assert not check_seal(file)
    assert whole(file).properties["mu"].tolist() == [1, 2, 3]


def test_a_file_of_another_program_has_no_seal(tmp_path):
    pq.write_table(pa.table({"elements": [[6, 8]], "positions": [[0.0] * 6]}), tmp_path / "m.parquet")
    assert not check_seal(tmp_path / "m.parquet")
    assert len(whole(tmp_path / "m.parquet")) == 1
    assert parquet_entries(tmp_path / "m.parquet") == {}


def test_entries_come_back_and_equal_molecules_give_equal_bytes(file, molecules, tmp_path):
    assert parquet_entries(file)["ead.about"] == "three molecules"
    assert check_seal(file)
    write_parquet(molecules, tmp_path / "again.parquet", {"ead.about": "three molecules"})
    assert (tmp_path / "again.parquet").read_bytes() == file.read_bytes()


def test_no_molecules_are_sealed_too(tmp_path, molecules):
    write_parquet(molecules.select([]), tmp_path / "none.parquet")
    assert check_seal(tmp_path / "none.parquet")


def test_pandas_gets_the_rows_of_a_file_or_of_a_folder(file, molecules):
    write_parquet(molecules.select([0]), file.with_name("n.parquet"))
    frame = read_frame(file)
    assert frame["smiles"].tolist() == ["C", "", "CO"]
    assert [len(positions) for positions in frame["positions"]] == [15, 18, 21]
    assert read_frame(file.parent)["id"].tolist() == [0, 1, 2, 0]


def test_pandas_is_not_given_damaged_nor_missing_files(file, tmp_path):
    file.write_bytes(flipped(file.read_bytes(), 4000))
    for source in (file, tmp_path):
        with pytest.raises(DataError, match=r"m\.parquet is damaged"):
            read_frame(source)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"is a folder without \.parquet files"):
        read_frame(tmp_path / "empty")
    with pytest.raises(DataError, match="is not a readable parquet file"):
        read_frame(tmp_path / "none.parquet")


def test_a_flipped_bit_in_the_table_of_an_evaluation_is_noticed(tmp_path):
    """Its pages have checksums."""
    path = tmp_path / "per_molecule.parquet"
    values = np.random.default_rng(0).normal(size=1000)
    pq.write_table(pa.table({"strain": values}), path, write_page_checksum=True, compression="none")
    content, place = path.read_bytes(), path.read_bytes().index(values[500:501].tobytes())
    assert Columns(path).numbers("strain").tolist() == values.tolist()
    path.write_bytes(flipped(content, 8 * place + 3))
    columns = Columns(path)
    for read in (lambda: columns.numbers("strain"), lambda: columns.rows(np.array([1]))):
        with pytest.raises(DataError, match="is not a readable parquet file"):
            read()
