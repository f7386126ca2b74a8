"""What a campaign yields as it grows: how many molecules are distinct and new, and what more of them would cost.

    python platform/jobs/generate.py --checkpoint qm9-fast --accept valid --until 200000 --out campaign
    python benchmarks/campaign_yield.py campaign --train qm9.npz --picture campaign.png

Reads the finished shards, in the order of their molecules. Molecules are equal if their InChIKeys are. Beside the share
that is distinct stands that of molecules that have not been seen before among the next ones (the slope), which
Good's estimator says beforehand from the molecules that were seen once (Good 1953, Biometrika 40, 237): the control.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import matplotlib.pyplot as plt
import pyarrow.parquet as pq
import typer
from quality_figures import heading, line

from ead_core.common.intervals import wilson
from ead_core.errors import DataError, report_user_errors
from ead_core.evaluation.reference import known_inchikeys

COLUMNS = ("inchikey", "nfe")


class Stage(NamedTuple):
    """What the first molecules of a campaign are.

    Attributes:
        molecules: how many.
        distinct: of them.
        new: distinct ones that are not in the training data.
        calls: network calls that they took.
        fresh: how many since the stage before had not been seen until then.
        expected: share of the molecules after this stage that will not have been seen, by Good's estimator.
    """

    molecules: int
    distinct: int
    new: int
    calls: float
    fresh: int
    expected: float


def delivered(folder: Path) -> Iterator[tuple[str, float]]:
    """InChIKey and calls of every molecule, in order (DataError: no shards, or such as have no keys)."""
    shards = sorted(folder.glob("shard-*.parquet"))
    if not shards:
        raise DataError(f"{folder} holds no shard-*.parquet.")
    for shard in shards:
        if missing := [name for name in COLUMNS if name not in pq.read_schema(shard).names]:
            raise DataError(f"{shard} has no column {missing[0]}; make the campaign with --accept.")
        table = pq.read_table(shard, columns=list(COLUMNS), page_checksum_verification=True)
        yield from zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)


def stages(molecules: Iterator[tuple[str, float]], known: frozenset[str]) -> Iterator[Stage]:
    """Stages at 1, 2 and 5 times the powers of ten from 1,000 on, and at the end."""
    seen: Counter[str] = Counter()
    new = fresh = count = reached = 0
    calls = 0.0
    marks = (lead * 10**power for power in itertools.count(3) for lead in (1, 2, 5))
    mark = next(marks)
    for count, (key, cost) in enumerate(molecules, 1):
        unseen = key not in seen
        seen[key] += 1
        fresh, new, calls = fresh + unseen, new + (unseen and key not in known), calls + cost
        if count == mark:
            yield _stage(count, seen, new, calls, fresh)
            mark, reached, fresh = next(marks), count, 0
    if count > reached:
        yield _stage(count, seen, new, calls, fresh)


def _stage(count: int, seen: Counter[str], new: int, calls: float, fresh: int) -> Stage:
    once = sum(times == 1 for times in seen.values())
    return Stage(count, len(seen), new, calls, fresh, once / count)


def rows(found: Sequence[Stage]) -> Iterator[str]:
    """The table, with the control."""
    titles = ["molecules", "distinct %", "distinct and new %", "not seen before, of those since", "by Good's estimator"]
    yield heading([*titles, "calls per distinct new one"])
    before = Stage(0, 0, 0, 0, 0, 1)
    for stage in found:
        low, high = wilson(stage.fresh, stage.molecules - before.molecules)
        share = stage.fresh / (stage.molecules - before.molecules)
        yield line(
            [
                f"{stage.molecules:,}",
                f"{100 * stage.distinct / stage.molecules:.2f}",
                f"{100 * stage.new / stage.molecules:.2f}",
                f"{100 * share:.2f} ({100 * low:.2f}–{100 * high:.2f})",
                f"{100 * before.expected:.2f}" if before.molecules else "",
                f"{stage.calls / max(stage.new, 1):.1f}",
            ]
        )
        before = stage


def draw(found: Sequence[Stage], path: Path) -> None:
    """The shares against the number of molecules."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    numbers = [stage.molecules for stage in found]
    axes.semilogx(numbers, [100 * stage.distinct / stage.molecules for stage in found], "o-", label="distinct")
    axes.semilogx(numbers, [100 * stage.new / stage.molecules for stage in found], "s-", label="distinct and new")
    axes.semilogx(numbers, [100 * stage.expected for stage in found], "^--", label="of the next ones, not seen before")
    axes.set(xlabel="molecules delivered", ylabel="%")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def main(
    folder: Annotated[Path, typer.Argument(help="Of finished shards.")],
    train: Annotated[Path, typer.Option(help="The training molecules.")],
    picture: Annotated[Path | None, typer.Option(help="Where to draw: .png.")] = None,
) -> None:
    """Print the table."""
    found = list(stages(delivered(folder), known_inchikeys(train)))
    typer.echo("\n".join(rows(found)))
    if picture:
        draw(found, picture)


if __name__ == "__main__":
    with report_user_errors("campaign_yield"):
        typer.run(main)
