"""The table of an evaluation, a row per attempt, and the folder of its finished parts while it is being made."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ead_core.common.files import write_aside
from ead_core.evaluation.chunk import Row
from ead_core.evaluation.parts import PARTS
from ead_core.evaluation.tally import Tally

TABLE, TALLY = "per_molecule.parquet", "tally.npz"
_COLUMNS = {
    int: "number id seed index best_of atoms net_charge stable_atoms pieces radicals charged_atoms unusual_atoms",
    str: "record failure name molecule hardware formula published_smiles smiles reason inchikey",
    bool: "sampled even_electrons stable valid perceived strict_valid",
    float: "nfe seconds",
}
_KINDS = {int: pa.int64(), str: pa.string(), bool: pa.bool_(), float: pa.float64()}


def _fields() -> Iterator[tuple[str, pa.DataType]]:
    """Columns by type, those of the parts after those that every table has."""
    for kind, names in _COLUMNS.items():
        own = (name for part in PARTS.values() for name, of in part.columns.items() if of is kind)
        yield from ((name, _KINDS[kind]) for name in (*names.split(), *own))


SCHEMA = pa.schema(list(_fields()))


def settings_key(settings: Mapping[str, Any]) -> str:
    """Equal for equal settings: 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def as_table(rows: Sequence[Row]) -> pa.Table:
    """Rows with all columns; what a row lacks is null. Names of files need not be text: `?` for what is none."""
    texts = [{key: _text(value) if isinstance(value, str) else value for key, value in row.items()} for row in rows]
    return pa.Table.from_pylist(texts, schema=SCHEMA)


def _text(value: str) -> str:
    return value.encode(errors="replace").decode()


class Parts:
    """Finished parts in a folder, each a piece of the table and a tally; a run with other settings starts afresh.

    Args:
        folder: of the parts alone.
        settings: whatever the rows depend on, as plain values.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder = folder
        key = settings_key(settings)
        stored = folder / "settings"
        if not stored.is_file() or stored.read_text() != key:
            shutil.rmtree(folder, ignore_errors=True)
            with write_aside(stored) as aside:
                aside.write_text(key)

    def finished(self, number: int) -> bool:
        """Whether a part is there; the table is written last."""
        return self._table(number).is_file()

    def add(self, number: int, rows: Sequence[Row], tally: Tally) -> None:
        """Keep the rows of one part of the files."""
        tally.save(self._folder / f"{number:06d}.npz")
        with write_aside(self._table(number)) as aside:
            pq.write_table(as_table(rows), aside, write_page_checksum=True)

    def join(self, folder: Path, further: Sequence[Row] = ()) -> Tally:
        """Write all rows, and further ones, to one file of a folder, and the sum of the tallies to another."""
        total = Tally()
        with (
            write_aside(folder / TABLE) as aside,
            pq.ParquetWriter(aside, SCHEMA, write_page_checksum=True) as writer,
        ):
            for number in self._numbers():
                writer.write_table(pq.read_table(self._table(number), schema=SCHEMA, page_checksum_verification=True))
                total.add(Tally.load(self._folder / f"{number:06d}.npz"))
            writer.write_table(as_table(further))
        total.save(folder / TALLY)
        return total

    def remove(self) -> None:
        """Delete the parts, once their sum is safe."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _numbers(self) -> Iterator[int]:
        number = 0
        while self.finished(number):
            yield number
            number += 1

    def _table(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"
