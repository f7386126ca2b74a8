"""What a campaign and Ray Data leave on the disk when they are killed in the midst of it and started again.

    python benchmarks/campaign_killed.py [--checkpoint qm9-fast]

Each is to make 12 shards of 16 molecules (the programs of campaign_throughput.py, and Ray Data with its own record of
what is written). All processes are killed as soon as four shards are there, and the same command is run to its end.
Then the rows on the disk are counted, and how many different ids they have. After that one file is cut short, and the
command is run again: the last column counts the rows that can be read and the different ids.
"""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import pyarrow.dataset as ds
import typer
from campaign_throughput import way_of

from ead_core.errors import report_user_errors

SHARDS, SIZE = 12, 16


def run(name: str, checkpoint: str, place: Path, until: int = SHARDS) -> None:
    """Run a program until it has made so many shards, then kill it; or to its end."""
    way = way_of(name, checkpoint, SIZE, SHARDS, place)
    try:
        while way.follow(0.1):
            if until < SHARDS and way.marks and way.marks[-1].molecules >= until * SIZE:
                break
    finally:
        way.end()


def counted(folder: Path) -> str:
    """Rows and different ids of the parquet files in a folder that can be read."""
    ids = ds.dataset(folder, format="parquet", exclude_invalid_files=True).to_table(columns=["id"])["id"].to_pylist()
    return f"{len(ids)} of {len(set(ids))} ids"


def main(checkpoint: Annotated[str, typer.Option()] = "qm9-fast") -> None:
    """Kill, run again, count, and print a table."""
    print("| | asked for | killed and run again | one file cut short and run again |\n" + "|---" * 4 + "|")
    for name in ("campaign", "ray-data", "ray-data-resumed"):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            run(name, checkpoint, place, 4)
            run(name, checkpoint, place)
            first = counted(place / name)
            os.truncate(min((place / name).glob("*.parquet")), 99)
            run(name, checkpoint, place)
            print(f"| {name} | {SHARDS * SIZE} | {first} | {counted(place / name)} |", flush=True)


if __name__ == "__main__":
    with report_user_errors("campaign_killed"):
        typer.run(main)
