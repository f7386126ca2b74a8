"""What `ead sample --match` does: how a table of wishes is to be met, and what is said of the outcome."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ead_core.cli.tables import check_table, write_table
from ead_core.errors import ConfigError
from ead_core.sampling.order import MatchOrder

if TYPE_CHECKING:
    from ead_core.sampling.matches import Table

MATCH = "With --targets: make a pool of molecules, and give each row the one that suits it, each molecule once."
POOL = "With --match: attempts before the first matching; half of all if none are given."
WISHES = "With --match: also write a row per wish, .csv or .parquet."


def match_order_of(
    match: bool,
    targets: Path | None,
    accept: list[str] | None,
    attempts: tuple[int | None, int | None],
    wishes: Path | None,
    alone: Mapping[str, object],
) -> MatchOrder | None:
    """How a table is to be matched; None if it is not.

    Args:
        match, targets, accept, wishes: the options.
        attempts: those of `--pool` and `--max-attempts`.
        alone: options that do not go with `--match`, with their values.

    Raises:
        ConfigError: options that do not go together, no table, or another extension of `--wishes`.
    """
    if not match:
        for option, given in (("--pool", attempts[0]), ("--wishes", wishes)):
            if given is not None:
                raise ConfigError(f"{option} needs --match, which matches molecules with the rows of a table.")
        return None
    if targets is None:
        raise ConfigError("--match needs --targets, a table with a row per wish.")
    for option, other in alone.items():
        if other:
            raise ConfigError(f"{option} cannot be combined with --match.")
    check_table(wishes, "wishes")
    return MatchOrder.of(accept, *attempts)


def report_wishes(table: "Table", out: Path | None) -> None:
    """Write a row per wish, and say how near molecules have come to them, and why some wishes got none."""
    from ead_core.sampling.matches import DISTANCE, REASON

    if out is not None:
        write_table(table, out)
    reasons = Counter(reason for reason in table[REASON].tolist() if reason)
    got, rows = len(table[REASON]) - reasons.total(), len(table[REASON])
    far = float(table[DISTANCE][table[REASON] == ""].sum()) / max(1, got)
    without = [f"{count:,} got none, because {reason}" for reason, count in reasons.most_common()]
    typer.echo("; ".join([how_near(got, rows, far), *without]) + ".", err=True)


def how_near(got: int, wishes: int, distance: float) -> str:
    """How many wishes got a molecule, and how far from what they ask for these are on average, in words."""
    told = f"{got:,} of {wishes:,} wishes got a molecule"
    near = f"; distance from what was asked, by the selector: {distance:.2g} spreads on average"
    return told + near if got else told
