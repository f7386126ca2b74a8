"""What a gate decides on: molecules of a model, and what was measured on them.

Both stay in the user's cache, so that a champion is sampled once. The molecules are those of `generate`: in shards, by
actors, resumable. A conditional model is asked for nothing, so its molecules are as varied as those of training.
"""

import hashlib
import json
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.files import user_cache, write_aside
from ead_core.data.frames import read_frame
from ead_core.evaluation.card import Card
from ead_core.evaluation.columns import Columns
from ead_core.evaluation.compare import FLAGS
from ead_core.evaluation.evaluate import evaluate_files
from ead_core.evaluation.report import CARD
from ead_core.evaluation.run import EvaluationPlan, settings_of
from ead_core.evaluation.table import TABLE, settings_key
from ead_core.sampling.requests import sampler_config
from ead_platform.cluster.locks import held
from ead_platform.cluster.session import actors_that_fit, ray_session, require_cpus
from ead_platform.cluster.settings import Settings
from ead_platform.generation.plan import GenerationPlan
from ead_platform.generation.report import GenerationConsole
from ead_platform.generation.shards import ShardFolder
from ead_platform.registry.gate import METRICS, GateConfig, Outcomes

SHARD_SIZE = 128  # what an interruption may cost an actor
MEASURED = "measured"  # file that holds the key of what the card was made from


@dataclass(frozen=True)
class Resources:
    """What the actors that sample get: how many (None: as many as fit), torch threads and share of a GPU of each."""

    actors: int | None = None
    threads: int = 1
    gpus: float = 0


@dataclass(frozen=True)
class Examined:
    """A model's molecules in figures.

    Attributes:
        name: of the checkpoint.
        card: published and strict protocol.
        outcomes: per molecule.
        folder: with the files of the card.
    """

    name: str
    card: Card
    outcomes: Outcomes
    folder: Path


class Examiner:
    """Samples and measures models; joins or starts a cluster when there is something to sample.

    Args:
        gate: what is asked for.
        settings: names the cluster.
        resources: of the actors.
        say: receives news for people.
    """

    def __init__(
        self, gate: GateConfig, settings: Settings, resources: Resources, say: Callable[[str], None] = print
    ) -> None:
        self._gate, self._settings, self._resources, self._say = gate, settings, resources, say
        self._open = ExitStack()
        self._connected = False

    def __enter__(self) -> "Examiner":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def plan(self, checkpoint: Checkpoint) -> GenerationPlan:
        """What is generated with a model.

        Raises:
            ConfigError: the gate's settings do not fit the model, or resources are out of range.
        """
        sampler, own = sampler_config(checkpoint, self._gate.sampler), self._resources
        plan = GenerationPlan(
            checkpoint, self._gate.num, SHARD_SIZE, self._gate.seed, None, sampler, own.threads, own.gpus
        )
        plan.check()
        return plan

    def examine(self, checkpoint: Checkpoint) -> Examined:
        """Sample and measure a model, as far as that was not done before.

        Raises:
            ConfigError: as `plan`.
            GenerationError: a shard cannot be made.
            EADError: no cluster, or files that cannot be written.
        """
        plan = self.plan(checkpoint)
        folder = _place(plan)
        waiting = f"{checkpoint.name} is being sampled by another process; waiting for it"
        with held(folder / "lock", lambda: self._say(waiting)):
            shards = ShardFolder(folder / "molecules", plan.question())
            self._sample(plan, shards)
            files = [folder / "molecules" / entry.name for entry in shards.molecules]
            card = self._measure(files, folder, checkpoint.name)
        return Examined(checkpoint.name, card, outcomes(files, folder, shards.cost.seconds), folder)

    def _sample(self, plan: GenerationPlan, shards: ShardFolder) -> None:
        with shards.opened():
            tasks = shards.left(plan.shards(), sdf=False)
            if not tasks:
                return
            self._say(f"{plan.checkpoint.name}:")
            console = GenerationConsole(shards, plan)
            console.announce()
            self._join_cluster()
            fitting = actors_that_fit(plan.threads, plan.gpus)
            console.work(tasks, min(self._resources.actors or fitting, len(tasks)))
            console.summary()

    def _join_cluster(self) -> None:
        if not self._connected:
            ends = signal.getsignal(signal.SIGTERM)
            self._open.enter_context(ray_session(self._settings))
            signal.signal(signal.SIGTERM, ends)  # Ray has put its own in its place
            require_cpus(self._resources.threads, "--threads")
            self._connected = True

    def _measure(self, files: list[Path], folder: Path, name: str) -> Card:
        """The card, from the cache if it was made from these files in this way."""
        measures, kept = EvaluationPlan(parts=()), folder / MEASURED
        key = settings_key(settings_of(files, measures))
        if not (kept.is_file() and kept.read_text() == key):
            with progress_bar(f"measuring {name}", self._gate.num) as progress:
                evaluate_files(files, folder, measures, name=name, progress=progress, total=self._gate.num)
            with write_aside(kept) as aside:
                aside.write_text(key)
        return Card.load(folder / CARD)


def outcomes(files: list[Path], folder: Path, seconds: float) -> Outcomes:
    """Per molecule in the order of the ids; what could not be read has succeeded in nothing.

    Args:
        files: shards.
        folder: with the table of their evaluation.
        seconds: per molecule.
    """
    made = pd.concat([read_frame(path)[["id", "nfe"]] for path in files], ignore_index=True)
    columns, first = Columns(folder / TABLE), int(made["id"].min())
    ids = columns.numbers("id")
    known = np.isfinite(ids)
    places = ids[known].astype(np.int64) - first
    hits: dict[str, NDArray[np.bool_]] = {}
    for metric in METRICS:
        hits[metric] = np.zeros(len(made), dtype=bool)
        hits[metric][places] = columns.flags(FLAGS[metric])[known]
    return Outcomes(hits, made.sort_values("id")["nfe"].to_numpy(dtype=np.float64), seconds)


def _place(plan: GenerationPlan) -> Path:
    """A folder of its own for everything that the molecules depend on."""
    question = {name: value for name, value in plan.question().items() if name != "checkpoint"}
    text = json.dumps([question, plan.num], sort_keys=True)
    return user_cache() / "examinations" / hashlib.sha256(text.encode()).hexdigest()[:16]
