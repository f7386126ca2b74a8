"""Molecules as a table of pandas."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ead_core.common.parquet_files import readable_parquet
from ead_core.data.seal import check_seal
from ead_core.errors import DataError


def read_frame(source: Path | str) -> pd.DataFrame:
    """The rows of a parquet file of molecules, or of a folder of shards, as pandas; damage to a file is noticed.

    pandas' own `read_parquet` compares no checksums by default, and takes flipped bits for values.

    Args:
        source: a `.parquet` file, or a folder whose `.parquet` files are joined in the order of their names.

    Returns:
        A row per molecule: `elements` (atomic numbers), flat `positions` in Å, and the properties.

    Raises:
        DataError: nothing readable at `source`, a damaged file, or files whose columns have different types.
    """
    source = Path(source)
    files = sorted(source.glob("*.parquet")) if source.is_dir() else [source]
    if not files:
        raise DataError(f"{source} is a folder without .parquet files.")
    tables = []
    for file in files:
        with readable_parquet(file):
            check_seal(file)
            tables.append(pq.read_table(file, page_checksum_verification=True))
    try:
        return pa.concat_tables(tables, promote_options="default").to_pandas()
    except pa.ArrowException as error:
        raise DataError(f"the tables of {source} do not fit together ({str(error).splitlines()[0]}).") from error
