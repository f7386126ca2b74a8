"""What `ead sample --match` does: how a table of wishes is to be met, and what is said of the outcome."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ead_core.cli.tables import check_table, write_table
from ead_core.errors import ConfigError
from ead_core.sampling.order import MatchOrder

if TYPE_CHECKING:
    from ead_core.data.wish_tables import WishTable
    from ead_core.sampling.ledger import Ledger
    from ead_core.sampling.matches import Matches
    from ead_core.sampling.unmet import RowAccount

MATCH = "With --targets: make a pool of molecules, and give each row the one that suits it, each molecule once."
POOL = "With --match: attempts before the first matching; half of all if none are given."
SHOWN = 5  # rows that are told of, one line each
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


def check_counts(table: "WishTable | None", alone: Mapping[str, object]) -> None:
    """Refuse options that also say how many molecules there are to be, beside a table whose rows do (ConfigError)."""
    for option, given in alone.items():
        if given and table and table.counts:
            raise ConfigError(
                f"{option} cannot be combined with a table that has a column 'count', which says how many molecules "
                "each row gets; leave one of them out, or add --match, which makes attempts until rows are met."
            )


def report_wishes(matches: "Matches", rows: "WishTable", out: Path | None) -> None:
    """Write a row per wish, and say how near molecules have come to them, and which are not met for what."""
    from ead_core.sampling.matches import DISTANCE, REASON
    from ead_core.sampling.unmet import row_accounts

    table = matches.wishes
    if out is not None:
        write_table(table, out)
    reasons = Counter(reason for reason in table[REASON].tolist() if reason)
    got = len(table[REASON]) - reasons.total()
    far = float(table[DISTANCE][table[REASON] == ""].sum()) / max(1, got)
    without = [f"{count:,} got none, because {reason}" for reason, count in reasons.most_common()]
    typer.echo("; ".join([how_near(got, matches.ledger, far), *without]) + ".", err=True)
    for line in not_met_lines(row_accounts(matches.not_met, rows)):
        typer.echo(line, err=True)


def how_near(got: int, ledger: "Ledger", distance: float) -> str:
    """How many wishes got a molecule, how many are met, and how far from what they ask for molecules are, in words."""
    told = f"{got:,} of {ledger.asked:,} wishes got a molecule"
    near = f"; distance from what was asked, by the selector: {distance:.2g} spreads on average"
    missed = f"; {got - ledger.met:,} of these are outside of a range" if ledger.met not in (None, got) else ""
    return told + near + missed if got else told


def not_met_lines(accounts: "Iterable[RowAccount]") -> Iterator[str]:
    """What became of the first rows that are not met in whole, and how many more there are."""
    left = 0
    for number, account in enumerate(accounts):
        if number < SHOWN:
            yield f"  {account.told}"
        else:
            left += 1
    if left:
        yield f"  … and {left:,} more rows"
