"""The table of an evaluation, a column at a time, so that a million molecules need little memory."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ead_core.chemistry.identity import without_stereo
from ead_core.common.parquet_files import open_table, readable_parquet

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[int], object]


class Columns:
    """Columns of `per_molecule.parquet`, each [M] with M attempts.

    Args:
        source: path of the table, or the table itself.

    Raises:
        DataError: not a table of an evaluation, or a damaged one; also when it is read.
    """

    def __init__(self, source: Path | pa.Table) -> None:
        self._source = source
        if isinstance(source, Path):
            with open_table(source, ()) as file:
                self._length = int(file.metadata.num_rows)
        else:
            self._length = len(source)

    def __len__(self) -> int:
        return self._length

    def flags(self, name: str) -> NDArray[np.bool_]:
        """What is true; unknown counts as false."""
        return np.asarray(self._column(name).fill_null(False), dtype=bool)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Values, NaN where unknown."""
        return np.asarray(self._column(name).cast(pa.float64()).to_numpy(), dtype=np.float64)

    def texts(self, name: str) -> list[str | None]:
        """Values, None where unknown."""
        return list(self._column(name).to_pylist())

    def sample_smiles(self, most: int) -> list[str]:
        """SMILES without stereochemistry of the perceived molecules; of more than `most`, as many chosen at random."""
        smiles = [text for text in self.texts("smiles") if text]
        chosen = np.random.default_rng(0).permutation(len(smiles))[:most]
        return [without_stereo(smiles[place]) for place in chosen]

    def distinct(self, name: str) -> set[str]:
        """Values that occur, the empty one apart."""
        return set(self._column(name).unique().cast(pa.string()).to_pylist()) - {None, ""}

    @cached_property
    def sampled(self) -> NDArray[np.bool_]:
        """On which the costly parts were measured."""
        return self.flags("sampled")

    def rows(self, numbers: NDArray[Any]) -> "pd.DataFrame":
        """Whole rows; the others are passed over without being held."""
        chosen = pc.field("number").isin(numbers.tolist())
        if not isinstance(self._source, Path):
            return self._source.filter(chosen).to_pandas()
        with readable_parquet(self._source):
            return pq.read_table(self._source, filters=chosen, page_checksum_verification=True).to_pandas()

    def _column(self, name: str) -> Any:
        if not isinstance(self._source, Path):
            return self._source[name]
        with open_table(self._source, [name]) as file:
            return file.read([name])[name]
