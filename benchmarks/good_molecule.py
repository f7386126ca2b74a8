"""The CPU time of a good molecule, beside EDM's way of computing, on the same machine in the same minutes.

    python benchmarks/good_molecule.py [--known qm9.npz] [--rounds 3] [--num 200] [--out good-molecule.json]

A good molecule is strictly valid, passes PoseBusters' mol_fast, has not been delivered before and, if a file of known
molecules is given, is not among them. Ours costs what a delivery takes in user and system seconds, over the molecules
delivered: of this process, which makes them, and of those that judge, their start included. EDM's costs a network call
of EDM's network in its way of computing (reference_egnn.py, padded batches of 64), times its 1,001 calls, over the
share of its attempts that is good. That is taken to be all that EDM has published as valid and unique: nothing further
is asked of its molecules, and judging them costs nothing. All compute on one thread and in turns; a ratio is taken
within a round.
"""

import json
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from good_molecule_cost import GOOD, ROWS, Cost, Row, Turn
from good_molecule_report import decomposition, figures, headline, picture, table
from speed import start, stop, turn

from ead_core.checkpoints.checkpoint import load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import hardware, tune_cpu
from ead_core.config import SamplerConfig, parse_overrides, sampler_settings
from ead_core.errors import ConfigError, report_user_errors
from ead_core.evaluation.criteria import Acceptance
from ead_core.evaluation.reference import load_known
from ead_core.sampling.delivery import deliver
from ead_core.sampling.order import Order
from ead_core.sampling.requests import Request, sampler_config

PRESET = "fast"  # of each row's checkpoint


def cpu_seconds() -> tuple[float, float]:
    """User and system seconds so far, of this process and of its children that have ended."""
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime


class Deliveries:
    """Delivers what a row names, other molecules in every round.

    Args:
        row: what is delivered.
        num: how many in a round.
        settings: keys of the sampler that change the preset, for a row without settings of its own.
        known: file of molecules that are not new.
    """

    def __init__(self, row: Row, num: int, settings: Mapping[str, Any], known: Path | None) -> None:
        new = f" & novel={known}" if known and row.accept == GOOD else ""
        self.order = Order(Acceptance.parse(row.accept + new), num)
        self.model = load_checkpoint(row.checkpoint)
        chosen = ({}, None) if row.own_settings else (settings, PRESET)
        self.sampler: SamplerConfig = sampler_config(self.model, *chosen)

    def round(self, number: int) -> Cost:
        """What a delivery costs."""
        before = cpu_seconds()
        ledger = deliver(self.model, Request(1, self.sampler, seed=number), self.order).ledger
        making, judging = (after - then for after, then in zip(cpu_seconds(), before, strict=True))
        if not ledger.delivered:
            raise ConfigError(f"none of {ledger.attempts:,} attempts was accepted, so there is no cost of a molecule.")
        calls, attempts = ledger.calls + ledger.surplus_calls, ledger.attempts
        return Cost(making / calls, calls / attempts, judging / attempts, ledger.delivered / attempts)


def measure(rows: Mapping[str, Deliveries], rounds: int, size: str) -> list[Turn]:
    """All rounds; the two processes that compute with EDM's network work once before, to warm up."""
    sides = [start(role, "sampling", size) for role in ("reference", "ours")]
    try:
        for side in sides:
            turn(side)
        with progress_bar("measuring", rounds * (len(rows) + 1)) as progress:
            return [one_round(rows, sides, number, progress) for number in range(rounds)]
    finally:
        stop(sides)


def one_round(rows, sides, number, progress):
    calls = [turn(side)["cpu_seconds"] for side in sides]
    progress(1)
    costs = {}
    for name, deliveries in rows.items():
        costs[name] = deliveries.round(number)
        progress(1)
    return Turn(*calls, costs)


def main(  # noqa: PLR0913 (what is measured, how often, and where it goes)
    *,
    known: Annotated[Path | None, typer.Option(help="File of molecules that are not new, e.g. qm9.npz.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of all sides, in turns.")] = 3,
    num: Annotated[int, typer.Option(min=1, help="Molecules to deliver, per row and round.")] = 200,
    row: Annotated[list[str] | None, typer.Option(help=f"{', '.join(ROWS)}; all if none is given.")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="sampler.key=value beside `fast`.")] = None,
    size: Annotated[str, typer.Option(help="Of EDM's network: full, or small to try this program.")] = "full",
    out: Annotated[Path, typer.Option(help="Figures, as JSON.")] = Path("good-molecule.json"),
    drawn: Annotated[Path | None, typer.Option("--picture", help="Bars, e.g. good-molecule.png.")] = None,
) -> None:
    """What a good molecule costs in CPU time, beside EDM's way of computing."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that compute with EDM's network
    tune_cpu(1)
    made_on = f"{hardware()}, torch {torch.__version__}"
    names, settings = row or list(ROWS), sampler_settings(parse_overrides(change or ()))
    if wrong := set(names) - set(ROWS):
        raise ConfigError(f"'{min(wrong)}' is no row; there are {', '.join(ROWS)}.")
    if known:
        load_known(known)  # measured once and kept, so that no delivery pays for it
    rows = {name: Deliveries(ROWS[name], num, settings, known) for name in names}
    turns = measure(rows, rounds, size)
    print(made_on, table(turns), decomposition(turns, names[0]), headline(turns, names[0], bool(known)), sep="\n\n")
    out.write_text(json.dumps({"hardware": made_on, "rounds": rounds, **figures(turns, bool(known))}, indent=1) + "\n")
    if drawn:
        picture(turns, drawn)


if __name__ == "__main__":
    with report_user_errors("good_molecule"):
        typer.run(main)
