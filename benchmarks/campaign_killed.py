"""What a campaign and Ray Data leave on the disk when they are killed in the midst of it and started again.

    python benchmarks/campaign_killed.py [--checkpoint qm9-fast]

Both are to make 12 shards of 16 molecules (the programs of campaign_throughput.py). All processes are killed as soon as
four shards are there, and the same command is run to its end. Then the rows on the disk are counted, and how many
different ids they have. The last columns compare with the files of a third, undisturbed run.
"""

import hashlib
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
    place.mkdir(exist_ok=True)
    way = way_of(name, checkpoint, SIZE, SHARDS, place)
    try:
        while way.follow(0.1):
            if until < SHARDS and way.marks and way.marks[-1].molecules >= until * SIZE:
                break
    finally:
        way.end()


def digests(folder: Path) -> dict[str, str]:
    """Of the parquet files in a folder, by name."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.parquet")}


def main(checkpoint: Annotated[str, typer.Option()] = "qm9-fast") -> None:
    """Kill, run again, count, and print a table."""
    print(
        "| | asked for | rows | different ids | files | different files | the names and bytes of an undisturbed run |"
    )
    print("|---" * 7 + "|")
    for name in ("campaign", "ray-data"):
        with tempfile.TemporaryDirectory() as folder:
            killed, whole = Path(folder, "killed"), Path(folder, "whole")
            run(name, checkpoint, killed, 4)
            run(name, checkpoint, killed)
            run(name, checkpoint, whole)
            table = ds.dataset(killed / name, format="parquet", exclude_invalid_files=True).to_table(columns=["id"])
            ids, files = table["id"].to_pylist(), digests(killed / name)
            counts = [SHARDS * SIZE, len(ids), len(set(ids)), len(files), len(set(files.values()))]
            same = "yes" if files == digests(whole / name) else "no"
            print(f"| {name} | {' | '.join(map(str, counts))} | {same} |", flush=True)


if __name__ == "__main__":
    with report_user_errors("campaign_killed"):
        typer.run(main)
