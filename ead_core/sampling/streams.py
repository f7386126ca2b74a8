"""Molecules from several engines at once: one in this process, the others in processes of their own, a core for each.

Threads that share an operation wait for each other within every one of them, so that other work on one core stops all.
Molecules need nothing of each other: each stream makes its own on one thread and takes the next piece of work when it
has room, so that a slow core delays only what it holds. Python's threads would not do: its lock leaves two of them 1.1
to 1.3 times the speed of one, where two processes have twice (docs/results/busy-cores.md).
"""

import contextlib
import math
import pickle
import signal
from abc import ABC, abstractmethod
from collections import deque
from multiprocessing.connection import Connection, wait
from types import TracebackType

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.common.cpu import available_cores, torch_threads, tune_cpu
from ead_core.common.processes import OneThreadEach, end_with_parent
from ead_core.config import SamplerConfig
from ead_core.data.store import MoleculeSet
from ead_core.networks.memory import molecules_per_call
from ead_core.notes import note
from ead_core.sampling.engine import Engine, Observer
from ead_core.sampling.pieces import Entered, Piece
from ead_core.sampling.requests import Prepared

READY = -1  # what a process sends once, in place of the number of a piece
LOOK_SECONDS = 0.05  # between two looks at the other processes while this one has nothing to do
AHEAD = 1.5  # work that another process holds, in its batches: what it needs until this one has time for it

PIECES = 4  # of a stream's batch: few enough to keep network calls large, enough for streams to end together

Done = dict[int, MoleculeSet]  # finished pieces by number


class Streams:
    """Engines that share pieces of work.

    A process needs seconds to start; until it is ready, the others do its work. If it dies, its pieces are made again.

    Args:
        checkpoint: the model.
        settings: batch size and precision of each, and the memory of all together.
        count: of streams; one of them computes in this process.
        observe: sees every move of every molecule; for a single stream.
    """

    def __init__(
        self, checkpoint: Checkpoint, settings: SamplerConfig, count: int = 1, observe: Observer | None = None
    ) -> None:
        own = settings.model_copy(update={"memory_budget": settings.memory_budget / count})
        self._here = _Here(_engine(checkpoint, own, observe), own.batch_size if count > 1 else math.inf)
        content = pickle.dumps((checkpoint, own)) if count > 1 else b""
        self._others = [_Elsewhere(content, AHEAD * own.batch_size) for _ in range(count - 1)]
        self._threads = torch_threads(1 if count > 1 else None)
        self._waiting: deque[tuple[int, Piece]] = deque()
        self._submitted = 0
        self._delivered = 0  # molecules of the others

    def __enter__(self) -> "Streams":
        self._threads.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for other in self._others:
            other.end()
        self._threads.__exit__(kind, error, trace)

    @property
    def busy(self) -> bool:
        """Whether anything waits or is being made."""
        return bool(self._waiting or self._here.held or any(other.held for other in self._others))

    @property
    def ready(self) -> bool:
        """Whether the other processes have started; `step` finds out."""
        return all(other.room for other in self._others)

    @property
    def finished(self) -> int:
        """Molecules made so far."""
        return self._here.engine.finished + self._delivered

    def submit(self, piece: Piece) -> int:
        """Queue a piece, and return its number."""
        number, self._submitted = self._submitted, self._submitted + 1
        self._waiting.append((number, piece))
        return number

    def step(self) -> Done:
        """Hand out work, make one network call here, and see what the other processes have made.

        Raises:
            EADError: what a piece of work is refused for.
        """
        self._share()
        done = self._here.step()
        patience = 0.0 if self._here.held else LOOK_SECONDS
        heard = wait([other.connection for other in self._others], patience) if self._others else []
        for other in [other for other in self._others if other.connection in heard]:
            done |= self._received(other)
        return done

    def _share(self) -> None:
        """Give each piece to the stream that has least, as long as one has room."""
        streams: list[_Stream] = [self._here, *self._others]
        while self._waiting and (free := [one for one in streams if one.load < one.room]):
            min(free, key=lambda one: one.load).take(*self._waiting.popleft())

    def _received(self, other: "_Elsewhere") -> Done:
        """What a process has sent; if it has died, its work waits again."""
        try:
            made = other.receive()
        except (EOFError, OSError):
            other.end()
            self._others.remove(other)
            self._waiting.extendleft(reversed(other.held.items()))
            note(f"a process that made molecules ended (exit code {other.exit_code}); the others do its work.")
            return {}
        self._delivered += sum(len(molecules) for molecules in made.values())
        return made


def streams_for(checkpoint: Checkpoint, prepared: Prepared, threads: int | None) -> int:
    """How many streams a request is worth: one on a GPU, and for a policy of the caller's, which no process knows.

    Args:
        checkpoint: the model, on its device.
        prepared: the request.
        threads: cores to use; None for all that this process may use. Fewer are used if there are fewer molecules, or
            if a network call of the largest of them would hold more than its share of the memory.
    """
    request, weight = prepared.request, next(checkpoint.denoiser.parameters())
    if weight.device.type != "cpu" or request.policy is not None:
        return 1
    largest, budget = int(prepared.start.sizes.max()), request.sampler.memory_budget
    at_once = molecules_per_call(checkpoint.denoiser, largest, budget)
    return max(1, min(threads or available_cores(), request.num, at_once))


class _Stream(ABC):
    """Who takes pieces as long as it holds fewer molecules than it has room for."""

    def __init__(self, room: float) -> None:
        self.room = room
        self.held: dict[int, Piece] = {}  # by number

    @property
    def load(self) -> int:
        """Molecules of the pieces that it holds."""
        return sum(len(piece) for piece in self.held.values())

    @abstractmethod
    def take(self, number: int, piece: Piece) -> None:
        """Begin a piece."""


class _Here(_Stream):
    """The stream of this process."""

    def __init__(self, engine: Engine, room: float) -> None:
        super().__init__(room)
        self.engine = engine
        self._entered: dict[int, tuple[int, Entered]] = {}  # numbers of pieces by request id

    def take(self, number: int, piece: Piece) -> None:
        entered = piece.enter(self.engine)
        self._entered[entered.request_id] = number, entered
        self.held[number] = piece

    def step(self) -> Done:
        """One network call, if there is anything to do."""
        done = {}
        for request_id, molecules in (self.engine.step() if self.held else {}).items():
            number, entered = self._entered.pop(request_id)
            done[number] = entered.finish(molecules)
            del self.held[number]
        return done


class _Elsewhere(_Stream):
    """A stream in a process of its own, seen from this one."""

    def __init__(self, content: bytes, room: float) -> None:
        super().__init__(0.0)  # until it is ready
        self._room_when_ready = room
        self.connection, theirs = OneThreadEach().Pipe()
        self._process = OneThreadEach().Process(target=_compute, args=(theirs, content), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def exit_code(self) -> int | None:
        """Of the process, once it has ended."""
        return self._process.exitcode

    def take(self, number: int, piece: Piece) -> None:
        self.held[number] = piece
        with contextlib.suppress(OSError):  # it has died, which `receive` will tell
            self.connection.send((number, piece))

    def receive(self) -> Done:
        """A finished piece, or nothing if the process only says that it is ready.

        Raises:
            EOFError, OSError: the process has died.
        """
        number, made = self.connection.recv()
        if isinstance(made, Exception):
            raise made
        if number == READY:
            self.room = self._room_when_ready
            return {}
        del self.held[number]
        return {number: made}

    def end(self) -> None:
        """Stop the process whatever it does."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _compute(connection: Connection, content: bytes) -> None:
    """The life of another process: pieces come in, finished ones go out, until it is killed."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first decides
    tune_cpu(1)
    checkpoint, settings = pickle.loads(content)
    here = _Here(_engine(checkpoint, settings, None), math.inf)
    connection.send((READY, None))
    try:
        while True:
            while connection.poll(0.0 if here.held else None):
                here.take(*connection.recv())
            for number, molecules in here.step().items():
                connection.send((number, molecules))
    except Exception as error:
        connection.send((READY, error))


def _engine(checkpoint: Checkpoint, settings: SamplerConfig, observe: Observer | None) -> Engine:
    return Engine(checkpoint, settings.batch_size, settings.memory_budget, settings.precision, observe)
