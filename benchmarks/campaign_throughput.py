"""The throughput of a campaign beside the bare engine, and beside the same work by Ray Data, on the same two cores.

    python benchmarks/campaign_throughput.py [--checkpoint qm9-fast] [--preset NAME] [--size 256] [--shards 8]
        [--rounds 3] [--work DIR]

Programs make the same molecules with two processes of one thread each: `engine` keeps them in memory, `engine-smiles`
finds their SMILES, too, `campaign` is platform/jobs/generate.py with all that it writes, compares and counts, and
`ray-data` lets Ray Data write them (campaign_throughput_ways.py). They run in turns of a few seconds: whoever has no
turn is stopped (SIGSTOP), so that other work on the machine, which comes and goes, meets all of them alike. One is
measured from its second finished shard on, when everything has started, to its last: molecules, seconds of its turns,
and CPU seconds of all its processes. So it ends when the first of them has made all its shards. With --work, finished
rounds are kept there.

The share of the engine's throughput that a campaign has is given on the wall and by CPU seconds per molecule, which
other work disturbs less; `cores` says how many a program got. `Ray itself` is what its services take, which a cluster
has on the side.
"""

import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import psutil
import typer
from kept import kept
from speed import interval

from ead_core.common.cpu import processor
from ead_core.errors import report_user_errors

HERE = Path(__file__).parent
TURN, PATIENCE = 4.0, 600.0  # seconds: of a turn; until a program must have made its first two shards
SERVICES = re.compile(r"raylet|gcs_server|ray/(_private|dashboard|autoscaler)|ray::(IDLE|RuntimeEnv|Dashboard)")


@dataclass(frozen=True)
class Mark:
    """Where a program is: molecules, seconds of its turns, and CPU seconds, of which Ray's services take a part."""

    molecules: int
    seconds: float
    cpu: float
    services: float


class Way:
    """A program that makes shards, in turns.

    Args:
        command: its command line.
        log: for what it prints.
        shards: counts what it has finished.
        size: molecules of a shard.
    """

    def __init__(self, command: list[str], log: Path, shards: Callable[[], int], size: int) -> None:
        self._shards, self._size, self.marks = shards, size, list[Mark]()
        self._ran = 0.0
        self._cpu: dict[int, tuple[float, bool]] = {}  # by process, with whether it is one of Ray's services
        with log.open("w") as file:
            self._process = psutil.Popen(command, stdout=file, stderr=subprocess.STDOUT)

    def turn(self) -> bool:
        """Let it run for a while, then stop it; whether it is still at work."""
        self._signal(signal.SIGCONT)
        at_work = self.follow(TURN)
        self._signal(signal.SIGSTOP)
        return at_work

    def follow(self, seconds: float) -> bool:
        """Look at it for a while; whether it is still at work."""
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end and self._process.poll() is None:
            time.sleep(0.05)
            self._ran += time.perf_counter() - now
            self._look()
        return self._process.poll() is None

    def begin(self) -> None:
        """Let it run until it has finished two shards, then stop it."""
        end = time.monotonic() + PATIENCE
        while not self.marks or self.marks[-1].molecules < 2 * self._size:
            if not self.follow(0.5) or time.monotonic() > end:
                sys.exit(f"{' '.join(self._process.args)} has not begun")
        self.marks = self.marks[-1:]
        self._signal(signal.SIGSTOP)

    def end(self) -> None:
        """Kill all its processes."""
        for process in self._family():
            with suppress(psutil.Error):
                process.kill()
        self._process.wait()

    def _family(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            return [self._process, *self._process.children(recursive=True)]
        return []

    def _signal(self, number: int) -> None:
        """To all its processes, also those that some of them start meanwhile."""
        known: set[psutil.Process] = set()
        while new := set(self._family()) - known:
            for process in new:
                with suppress(psutil.Error):
                    process.send_signal(number)
            known |= new

    def _look(self) -> None:
        """Note where it is if it has finished another shard."""
        molecules = self._size * self._shards()
        if molecules <= (self.marks[-1].molecules if self.marks else 0):
            return
        for process in self._family():
            with suppress(psutil.Error):
                used = process.cpu_times()
                service = bool(SERVICES.search(" ".join(process.cmdline())))
                self._cpu[process.pid] = used.user + used.system, service
        total, services = (
            sum(cpu for cpu, service in self._cpu.values() if service or everything) for everything in (True, False)
        )
        self.marks.append(Mark(molecules, self._ran, total, services))


def way_of(name: str, checkpoint: str, size: int, shards: int, place: Path, preset: str | None = None) -> Way:
    """A program by its name, started; it writes to a folder of its name."""
    log, out = place / f"{name}.log", place / name
    counts = [checkpoint, str(shards), str(size), str(out), preset or ""]
    command = [sys.executable, str(HERE / "campaign_throughput_ways.py"), name, *counts]
    if name == "campaign":
        command = [sys.executable, str(HERE.parent / "platform" / "jobs" / "generate.py"), "--out", str(out)]
        command += ["--checkpoint", checkpoint, "--num", str(size * shards), "--shard-size", str(size)]
        command += ["--actors", "2", *(["--preset", preset] if preset else [])]
    return Way(command, log, _counter(name, log, out), size)


def _counter(name: str, log: Path, out: Path) -> Callable[[], int]:
    if name.startswith("ray-data"):
        return lambda: len(list(out.glob("*.parquet")))
    line = "shard-" if name == "campaign" else "shard of "
    return lambda: sum(text.startswith(line) for text in log.read_text().splitlines())


def measure(checkpoint: str, size: int, shards: int, preset: str | None) -> dict[str, dict[str, float]]:
    """What each program did between its first and its last mark."""
    with tempfile.TemporaryDirectory() as folder:
        started: dict[str, Way] = {}
        try:
            for name in ("engine", "engine-smiles", "campaign", "ray-data"):
                started[name] = way_of(name, checkpoint, size, shards, Path(folder), preset)
                started[name].begin()
            at_work = True
            while at_work:
                turns = [way.turn() for way in started.values()]  # all have equally many
                at_work = all(turns)
        finally:
            for way in started.values():
                way.end()
        figures = {}
        for name, way in started.items():
            first, last = asdict(way.marks[0]), asdict(way.marks[-1])
            figures[name] = {key: last[key] - first[key] for key in last}
    return figures


def table(rounds: list[dict[str, dict[str, float]]]) -> str:
    """A line per program: medians over rounds, and shares of the engine's throughput with their ranges."""
    lines = [
        "| | molecules/s | share of the engine's | cores | CPU ms per molecule | of it Ray itself | share by CPU |"
    ]
    lines.append("|---" * 7 + "|")
    for name in rounds[0]:
        mine = [each[name] for each in rounds]
        rate, cpu, services = ([_per(row, *about) for row in mine] for about in RATES)
        base_rate, base_cpu = ([_per(each["engine"], *about) for each in rounds] for about in RATES[:2])
        cores = [_per(row, "cpu", "seconds") for row in mine]
        middle = [statistics.median(values) for values in (rate, cpu, services, cores)]
        lines.append(
            f"| {name} | {middle[0]:.2f} | {_ratios(rate, base_rate)} | {middle[3]:.2f} | {1000 * middle[1]:.1f} | "
            f"{1000 * middle[2]:.1f} | {_ratios(base_cpu, cpu)} |"
        )
    return "\n".join(lines)


RATES = (("molecules", "seconds"), ("cpu", "molecules"), ("services", "molecules"))


def _per(row: dict[str, float], above: str, below: str) -> float:
    return row[above] / row[below]


def _ratios(some: list[float], others: list[float]) -> str:
    return "{value:.3f} ({low:.3f}–{high:.3f})".format(**interval([a / b for a, b in zip(some, others, strict=True)]))


def main(
    checkpoint: Annotated[str, typer.Option()] = "qm9-fast",
    preset: Annotated[str | None, typer.Option()] = None,
    size: Annotated[int, typer.Option(min=1, help="Molecules per shard.")] = 256,
    shards: Annotated[int, typer.Option(min=4, help="Of each program in a round.")] = 8,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    work: Annotated[Path | None, typer.Option(help="Where finished rounds are kept.")] = None,
) -> None:
    """Measure and print a table."""
    figures = []
    for number in range(rounds):
        one = work and kept(work / f"round-{number}.json", lambda: measure(checkpoint, size, shards, preset))
        figures.append(one or measure(checkpoint, size, shards, preset))
        made = min(row["molecules"] for row in figures[-1].values())
        print(f"round {number}: at least {made:.0f} molecules each", flush=True)
    load = psutil.getloadavg()[2]
    print(f"{checkpoint}, {preset or 'its own settings'}, shards of {size}, {processor()}")
    print(f"load {load:.1f} over the last quarter of an hour")
    print(table(figures))


if __name__ == "__main__":
    with report_user_errors("campaign_throughput"):
        typer.run(main)
