"""What a person sees of a generation: what is left, progress, and what it cost."""

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from ead_core.cli.console import progress_bar
from ead_core.cli.match import how_near, not_met_lines
from ead_core.data.usable import described
from ead_core.errors import EADError, OutputError
from ead_core.sampling.ledger import Ledger
from ead_core.sampling.matches import DISTANCE
from ead_core.sampling.order import MatchOrder
from ead_platform.generation.actors import ActorPool, GenerationError
from ead_platform.generation.making import FinishedShard
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.shard_numbers import Task
from ead_platform.generation.shards import ShardFolder
from ead_platform.generation.unmet_rows import accounts_of

MOST_REASONS = 5  # one line each


class GenerationConsole:
    """Reports the progress of one run and records it in the folder.

    Args:
        folder: open for this run.
        plan: what is asked.
    """

    def __init__(self, folder: ShardFolder, plan: GenerationPlan) -> None:
        self._folder, self._plan = folder, plan
        self._console = Console(highlight=False)
        self._start = self._began = time.monotonic()  # of the run, and of its present round
        self._sampling = False
        self._matched = isinstance(plan.order, MatchOrder)
        self._made = "wishes" if self._matched else "attempts" if plan.order else "molecules"
        self._done = self._wanted = 0  # molecules
        self._advance: Callable[[int], None] = lambda done: None

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self._console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Leave a folder that can be continued behind when the run is stopped or fails."""
        with resumable("generate", self._state, self.say):
            yield

    def _state(self) -> str:
        return f"{self._folder.rows} of {self._folder.num} {self._made} are finished in {self._folder.place}."

    def announce(self) -> None:
        """Say what was found."""
        if self._folder.rebuilt:
            self.say(f"{self._folder.rebuilt}.")
        if self._folder.rows > self._plan.num:
            self.say(f"The folder holds {self._folder.rows} molecules, more than --num {self._plan.num}; all are kept.")
        elif self._folder.rows:
            self.say(f"{self._folder.rows} of {self._folder.num} {self._made} are there already")

    def _say_why(self, tasks: Sequence[Task]) -> None:
        """Why something that is there is made again."""
        reasons = [task.reason for task in tasks if task.reason]
        for reason in reasons[:MOST_REASONS]:
            self.say(f"{reason} and is made again")
        if len(reasons) > MOST_REASONS:
            self.say(f"… and {len(reasons) - MOST_REASONS} more")

    @contextmanager
    def working(self, tasks: Sequence[Task], actors: int) -> Iterator[None]:
        """Around the work: a bar, or the lines of `finished` where none can be drawn.

        Writing SDF of finished shards takes next to no time beside sampling, so it only counts if it is all there is.
        """
        self._sampling = any(task.sample for task in tasks)
        counted = [task for task in tasks if task.sample == self._sampling]
        self._wanted, self._done, self._began = sum(task.shard.rows for task in counted), 0, time.monotonic()
        title = "sampling" if self._sampling else "writing SDF"
        self.say(f"{title}: {self._wanted} {self._made} in {len(counted)} shards by {actors} actors")
        if len(counted) < len(tasks):
            self.say(f"writing SDF of {len(tasks) - len(counted)} finished shards too")
        with progress_bar(title, self._wanted, self._console) as self._advance:
            yield

    def work(self, tasks: Sequence[Task], actors: int) -> None:
        """Have all tasks done by so many actors (GenerationError if that fails)."""
        self._say_why(tasks)
        with self.working(tasks, actors):
            pool = ActorPool(self._plan, actors, self._folder.content, self.finished, self.say, self._check_cancelled)
            pool.work(tasks)

    def _check_cancelled(self) -> None:
        if self._folder.cancelled:
            self.say("somebody has cancelled this run")
            raise KeyboardInterrupt

    def finished(self, task: Task, made: FinishedShard) -> None:
        """Store what was made and report it."""
        shard = task.shard
        self._folder.add(shard, made.files, made.seconds, made.nfe, made.faults, made.refused, made.attempts)
        if task.sample != self._sampling:
            return
        self._done += shard.rows
        self._advance(shard.rows)
        if not self._console.is_terminal:
            rate = self._done / (time.monotonic() - self._began)
            self.say(
                f"{shard.name}  {shard.rows} {self._made} in {made.seconds:.1f} s; {self._done} of {self._wanted} done "
                f"at {rate:.3g} per second, {duration((self._wanted - self._done) / rate)} left"
            )

    def summary(self) -> None:
        """Where the molecules are, what they cost, what became of the attempts, and how many are unusable.

        Raises:
            EADError: all are, or none was accepted.
        """
        faults, cost, ledger = self._folder.faults, self._folder.cost, self._folder.ledger
        rows = ledger.delivered if ledger else self._folder.rows
        seconds = "" if math.isnan(cost.seconds) else f" and {cost.seconds:.2f} s"
        self.say(
            f"{rows} molecules in {len(self._folder.molecules)} shards → {self._folder.place} "
            f"({cost.nfe:.0f} network calls{seconds} per {'attempt' if ledger else 'molecule'}; "
            f"this run took {duration(time.monotonic() - self._start)})"
        )
        if ledger:
            self._say_what_became(ledger)
        bad = faults.total()
        if bad:
            self.say(f"{bad} of the {rows} molecules are unusable ({described(faults)}); SDF files leave them out.")
        if bad == rows:
            raise EADError(f"nothing usable was made in {self._folder.place}; are the weights damaged?")

    def _say_what_became(self, ledger: Ledger) -> None:
        """What became of the attempts, and of the wishes (EADError if no molecule was accepted)."""
        if self._plan.wishes and self._matched:
            far = sum(float(part.properties[DISTANCE].sum()) for part in self._folder.parts())
            self.say(f"{how_near(ledger.delivered, ledger, far / max(1, ledger.delivered))}.")
            for line in not_met_lines(accounts_of(self._folder, self._plan.wishes)):
                self.say(line)
        self.say(f"{ledger.sentence}.")
        if not ledger.delivered:
            raise EADError(f"no molecule was accepted in {self._folder.place}.")


@contextmanager
def resumable(program: str, state: Callable[[], str], say: Callable[[str], None]) -> Iterator[None]:
    """Report a stop (exit code 130) or a failure (1; 2 if nothing can be written) that the same command continues.

    SIGTERM, which ends submitted jobs, is treated like Ctrl-C.

    Args:
        program: the name in front of the message.
        state: a sentence on what is finished.
        say: prints a line.
    """
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        say(f"\nStopped; {state()} The same command continues.")
        sys.exit(130)
    except GenerationError as error:
        print(error.__cause__, file=sys.stderr)
        print(f"{program}: {error} {state()} The same command continues.", file=sys.stderr)
        sys.exit(1)
    except OutputError as error:
        raise OutputError(f"{error} {state()} The same command continues.") from error
    finally:
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)  # None: one that Python did not install


def duration(seconds: float) -> str:
    """`48 s`, `12 min` or `3 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
