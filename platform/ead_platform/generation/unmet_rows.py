"""The rows of a table that are not met in whole, from the shards of its folder, and the file that lists them."""

import csv
import io
from collections.abc import Iterator

from ead_core.data.wish_tables import KEY, WishTable
from ead_core.prediction.predict import PREDICTED
from ead_core.sampling.matches import MET
from ead_core.sampling.unmet import BEST, RowAccount, Unmet, row_accounts
from ead_platform.generation.shard_unmet import read_unmet
from ead_platform.generation.shards import ShardFolder

UNMET_FILE = "unmet.csv"  # beside the index


def accounts_of(folder: ShardFolder, table: WishTable) -> Iterator[RowAccount]:
    """The accounts of the rows that are not met in whole, in their order, one shard after the other."""
    return row_accounts(_unmet(folder), table)


def write_unmet(folder: ShardFolder, table: WishTable) -> int:
    """List them in a file of the folder; how many wishes are met."""
    predicted = [f"{BEST}{PREDICTED}{name}" for name in table.targets.names]
    best = [f"{BEST}{name}" for name in ("id", "smiles", "distance")]
    columns = ["row", *([KEY] if table.keys else []), "asked", "met", "unmet", "reason", *best, *predicted]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(account.cells for account in accounts_of(folder, table))
    folder.place.write(UNMET_FILE, text.getvalue().encode())
    return sum(int(part.properties[MET].sum()) for part in folder.parts())


def _unmet(folder: ShardFolder) -> Iterator[Unmet]:
    for entry in folder.molecules:
        yield from read_unmet(folder.place.read(entry.name)) or ()
