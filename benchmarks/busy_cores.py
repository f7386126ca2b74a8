"""What other work on the cores costs: every row on idle cores and beside busy loops, in turns.

    python benchmarks/busy_cores.py configs/qm9_small.yaml [--rounds 3] [--seconds 10] [key=value …]
    python benchmarks/busy_cores.py --checkpoint qm9-small --checkpoint qm9-deep [--rounds 3] [--num 192] [--no-openmp]

The first compares ways of training, the second of sampling.

A row is a program that is started anew for every turn and tells its own rate once it runs. In every round each row
takes a turn on idle cores and one beside endless loops of the same priority, one per core. Rates are
medians over the rounds; a ratio is taken within a round and given with its range. On a machine that is shared, give the
whole comparison the cores: a session of its own (`setsid`) with a high priority (`/proc/self/autogroup`).
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import typer
from speed import interval

from ead_core.cli.console import progress_bar
from ead_core.common.cpu import available_cores, processor
from ead_core.errors import report_user_errors

LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(1_000_000): pass"

FEWER = 8  # times the molecules for threads of OpenMP, which may be so much slower beside other work
SAMPLING = Path(__file__).with_name("busy_cores_worker.py")
EAD = ("-m", "ead_core.cli")
OPENMP = (
    "-c",
    "from ead_core.training import cores\n"
    "cores.process_count, cores.own_threads = lambda training: 1, lambda training: training.threads\n"
    "from ead_core.cli.main import main\nmain()",
)


class Row(Protocol):
    """A way of working."""

    def rate(self) -> float:
        """Molecules per second of one turn."""


@dataclass(frozen=True)
class Training:
    """`ead train` with a number of threads.

    Attributes:
        program: what Python runs: EAD, or OPENMP, which has one process with so many threads of torch.
        threads: `training.threads`.
        recipe: YAML file.
        settings: overrides.
        seconds: of training per turn.
    """

    program: tuple[str, ...]
    threads: int
    recipe: Path
    settings: tuple[str, ...]
    seconds: float

    def rate(self) -> float:
        """The median of the reports but the first, if there are others."""
        fixed = (f"training.threads={self.threads}", f"training.max_seconds={self.seconds}")
        quiet = ("training.evaluate_molecules=0", "training.evaluate_every=1000000")
        with tempfile.TemporaryDirectory() as place:
            command = [sys.executable, *self.program, "train", str(self.recipe), "--out", f"{place}/run"]
            done = subprocess.run(
                [*command, *fixed, *quiet, *self.settings], capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(done.stderr)
            reports = [json.loads(line) for line in Path(place, "run", "metrics.jsonl").read_text().splitlines()]
        rates = [report["molecules_per_second"] for report in reports]
        return float(statistics.median(rates[1:] or rates))


@dataclass(frozen=True)
class Sampling:
    """Molecules of a checkpoint from streams, once all of them are ready.

    Attributes:
        checkpoint: name or folder.
        num: molecules per turn, in all.
        streams: of each process.
        processes: started side by side, which know nothing of each other.
        threads: of OpenMP in the only stream.
    """

    checkpoint: str
    num: int
    streams: int = 1
    processes: int = 1
    threads: int = 1

    def rate(self) -> float:
        """The sum over the processes, which begin together to within a second."""
        numbers = map(str, (self.num // self.processes, self.streams, self.threads))
        command = [sys.executable, str(SAMPLING), self.checkpoint, *numbers]
        started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(self.processes)]
        return sum(float(process.communicate()[0]) for process in started)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """For the length of a block, so many endless loops (which also end if this program is killed)."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def turns(row: Row, loops: int) -> tuple[float, float]:
    """Rates of a row on idle cores and beside loops."""
    idle = row.rate()
    with busy(loops):
        return idle, row.rate()


def table(rates: Mapping[str, list[tuple[float, float]]]) -> str:
    """A line per row: rates idle and busy, each beside the first row's, and busy beside idle."""
    first = next(iter(rates.values()))
    lines = ["| | idle, molecules/s | beside the first row | busy, molecules/s | beside the first row | busy / idle |"]
    lines.append("|---" * 6 + "|")
    for name, rounds in rates.items():
        middle = [statistics.median(each) for each in zip(*rounds, strict=True)]
        gain = [ratios([mine[side] for mine in rounds], [theirs[side] for theirs in first]) for side in (0, 1)]
        kept = ratios([busy for _, busy in rounds], [idle for idle, _ in rounds])
        lines.append(f"| {name} | {middle[0]:.0f} | {gain[0]} | {middle[1]:.0f} | {gain[1]} | {kept} |")
    return "\n".join(lines)


def ratios(some: list[float], others: list[float]) -> str:
    """Median and range of the ratios within rounds."""
    return "{value:.2f} ({low:.2f}–{high:.2f})".format(**interval([a / b for a, b in zip(some, others, strict=True)]))


def training_rows(recipe: Path, settings: tuple[str, ...], cores: int, seconds: float, openmp: bool) -> dict[str, Row]:
    """Ways of training."""
    rows: dict[str, Row] = {
        "training, 1 thread": Training(EAD, 1, recipe, settings, seconds),
        f"training, {cores} threads": Training(EAD, cores, recipe, settings, seconds),
    }
    if openmp:
        rows[f"training, {cores} threads of OpenMP"] = Training(OPENMP, cores, recipe, settings, seconds)
    return rows


def sampling_rows(checkpoint: str, num: int, cores: int, openmp: bool) -> dict[str, Row]:
    """Ways of sampling."""
    rows: dict[str, Row] = {
        f"{checkpoint}, 1 stream": Sampling(checkpoint, num),
        f"{checkpoint}, {cores} streams": Sampling(checkpoint, num, streams=cores),
        f"{checkpoint}, {cores} processes started apart": Sampling(checkpoint, num, processes=cores),
    }
    if openmp:
        rows[f"{checkpoint}, {cores} threads of OpenMP"] = Sampling(checkpoint, -(-num // FEWER), threads=cores)
    return rows


def main(
    recipe: Annotated[Path | None, typer.Argument(help="YAML recipe, for the rows of training.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value …")] = None,
    checkpoint: Annotated[list[str] | None, typer.Option(help="For the rows of sampling.")] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[float, typer.Option(min=5, help="Of training per turn.")] = 10,
    num: Annotated[int, typer.Option(min=2, help="Molecules sampled per turn.")] = 192,
    openmp: Annotated[bool, typer.Option(help="Also rows of OpenMP's threads, which may take very long.")] = True,
) -> None:
    """Let every row take its turns and print a table for training and one for each checkpoint."""
    cores = available_cores()
    tables = [training_rows(recipe, tuple(overrides or ()), cores, seconds, openmp)] if recipe else []
    tables += [sampling_rows(name, num, cores, openmp) for name in checkpoint or ()]
    print(f"{processor()}, {cores} cores, {cores} busy loops")
    for rows in tables:
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
        with progress_bar("turns", rounds * len(rows)) as progress:
            for _ in range(rounds):
                for name, row in rows.items():
                    rates[name].append(turns(row, cores))
                    progress(1)
        print(table(rates), flush=True)


if __name__ == "__main__":
    with report_user_errors("busy_cores"):
        typer.run(main)
