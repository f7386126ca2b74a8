"""Tables that commands write beside molecules, as .csv or .parquet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ead_core.common.files import check_writable
from ead_core.errors import ConfigError

CSV, PARQUET = ".csv", ".parquet"


def check_table(path: Path | None, of: str) -> None:
    """Refuse, before any work, a file that cannot hold a table.

    Args:
        path: of the file; None for none.
        of: what its rows are, e.g. "molecules".

    Raises:
        ConfigError: another extension.
        OutputError: it cannot be written.
    """
    if path is None:
        return
    if path.suffix.lower() not in (CSV, PARQUET):
        raise ConfigError(f"cannot write {path}: the table of {of} must end in {CSV} or {PARQUET}.")
    check_writable(path)


def write_table(columns: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write columns of equal length; the file appears only when it is complete (OutputError if it cannot be)."""
    import pandas as pd

    from ead_core.common.files import write_aside

    frame = pd.DataFrame(columns)
    with write_aside(path) as aside:
        frame.to_csv(aside, index=False) if path.suffix.lower() == CSV else frame.to_parquet(aside, index=False)
