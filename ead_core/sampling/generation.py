"""Molecules on demand: streams run until one request is done."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.common.cpu import torch_threads
from ead_core.config import SamplerConfig
from ead_core.config.presets import PresetName
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import Targets
from ead_core.diffusion.policy import Policy
from ead_core.diffusion.process import Process
from ead_core.errors import ConfigError
from ead_core.notes import note
from ead_core.prediction.judge import Judge, load_judge
from ead_core.sampling.conditions import Sizes, check_sizes_seen
from ead_core.sampling.delivery import deliver
from ead_core.sampling.engine import Engine, Observer
from ead_core.sampling.order import Order, check_repairs, criteria_of
from ead_core.sampling.pieces import cut
from ead_core.sampling.requests import Prepared, Request, prepare, sampler_config
from ead_core.sampling.state import SamplerState
from ead_core.sampling.streams import PIECES, Streams, streams_for

Progress = Callable[[int], None]


def sample(  # noqa: PLR0913 (everything that a caller may ask for)
    checkpoint: Checkpoint,
    num: int | None = None,
    seed: int = 0,
    sizes: Sizes = None,
    progress: Progress = lambda done: None,
    first: int = 0,
    targets: Targets | Mapping[str, float | Sequence[float]] | None = None,
    *,
    preset: PresetName | None = None,
    policy: str | Policy | None = None,
    accept: str | Sequence[str] | None = None,
    until: int | None = None,
    max_attempts: int | None = None,
    selector: str | Path | Judge | None = None,
    threads: int | None = 1,
    beyond_training: bool = False,
    **settings: object,
) -> MoleculeSet:
    """Generate molecules with a trained model.

    Args:
        checkpoint: from `load_checkpoint`.
        num: molecules; with `accept`, attempts, unless `until` says how many shall be delivered.
        seed, sizes, first: see `Request`.
        progress: receives the number of molecules finished since its last call; with `until`, of those accepted.
        targets: rows of targets, or a value or (low, high) by property for all molecules; in border units
            (data/properties.py).
        preset: settings under a name, from few network calls to many: "fast", "balanced" or "best"; `policy` and
            `settings` come before those of the preset. None takes the checkpoint's own sampler section.
        policy: a value of `sampler.policy`, or a policy of your own.
        accept: what a delivered molecule must be, e.g. "valid & unique" (evaluation/criteria.py); what became of the
            attempts is a note, and `deliver` returns it.
        until: how many shall be delivered; without `accept`, valid, unique ones in the ranges of `targets`.
        max_attempts: after so many attempts, fewer are delivered; None stands for 20 per molecule, at least 1,000.
        selector: with `branches`, or for ranges, who predicts properties: a predictor that has learnt from the
            generator's half of the labels, its name or its folder; None takes the bundled one.
        threads: cores to use, each by a process of its own; None uses all that there are (see `streams_for`).
        beyond_training: allow numbers of atoms that no training molecule has.
        settings: keys of the sampler section without their prefix, e.g. `async_ratio=0.2`.

    Returns:
        The molecules in the order of their ids, with the properties `id`, `nfe` (network calls) and `seconds` (each
        molecule's share of the time of the core that made it); with targets also `target_gap` and so on (the value
        asked for, NaN where it is open) and `warning` ('' or which targets lie outside of training); with branches
        `best_of`, how many, and `selected_by`, the fingerprint of the selector.

    Raises:
        ConfigError: an unknown preset, setting or property, or a value out of range.
    """
    named = {"policy": policy} if isinstance(policy, str) else {}
    config = sampler_config(checkpoint, {**settings, **named}, preset)
    given = tuple(sizes) if isinstance(sizes, Sequence) else sizes
    wanted = Targets.of(targets) if isinstance(targets, Mapping) else targets
    own = policy if isinstance(policy, Policy) else None
    if (num is None) == (until is None):
        raise ConfigError("give either num, the attempts, or until, the molecules to be delivered.")
    order = _order(accept, until, max_attempts, wanted)
    check_repairs(settings, order is not None)
    chooser = _chooser(selector, config, order)
    request = Request(1 if num is None else num, config, seed, first, given, wanted, policy=own, selector=chooser)
    with torch_threads(1):
        prepared = prepare(checkpoint, request)
        if not beyond_training:
            check_sizes_seen(checkpoint, prepared.start.sizes)
        if order is None:
            return fulfil(checkpoint, prepared, progress, threads=threads)
        molecules, ledger = deliver(checkpoint, request, order, progress, threads)
        note(f"{ledger.sentence}.")
        return molecules


def _order(
    accept: str | Sequence[str] | None, until: int | None, max_attempts: int | None, wanted: Targets | None
) -> Order | None:
    """What is to be delivered; None if all attempts are (ConfigError: a number of what nobody has described)."""
    criteria = criteria_of(accept, until, wanted is not None and bool(wanted.limited.any()))
    if criteria:
        return Order(criteria, until, max_attempts)
    if (until, max_attempts) != (None, None):
        raise ConfigError(
            "until and max_attempts need accept (what a delivered molecule must be) or a range in targets."
        )
    return None


def _chooser(selector: str | Path | Judge | None, config: SamplerConfig, order: Order | None) -> Judge | None:
    """Who predicts properties; None leaves it open (ConfigError: a selector, and nothing to predict for)."""
    chooser = load_judge(selector) if isinstance(selector, str | Path) else selector
    if chooser is not None and not config.predicts and not (order and order.predicts):
        raise ConfigError(
            "selector needs branches, among which it chooses, or property_guidance, for which it predicts; give one of "
            "them, e.g. branches=8."
        )
    return chooser


def fulfil(
    checkpoint: Checkpoint,
    wanted: Request | Prepared,
    progress: Progress = lambda done: None,
    observe: Observer | None = None,
    threads: int | None = 1,
) -> MoleculeSet:
    """The molecules of one request, as from `sample`; who observes, sees all of them in this process."""
    prepared = prepare(checkpoint, wanted) if isinstance(wanted, Request) else wanted
    request, count = prepared.request, 1 if observe else streams_for(checkpoint, prepared, threads)
    most = request.num if count == 1 else -(-min(request.num // count, request.sampler.batch_size) // PIECES)
    done: dict[int, MoleculeSet] = {}
    with Streams(checkpoint, request.sampler, count, observe) as streams:
        numbers = [streams.submit(piece) for piece in cut(prepared, most)]
        while streams.busy:
            before = streams.finished
            done |= streams.step()
            if streams.finished > before:
                progress(streams.finished - before)
    made = MoleculeSet.concatenate([done[number] for number in numbers])
    return made.select(np.argsort(made.properties["id"]))


def complete(
    checkpoint: Checkpoint, state: SamplerState, process: Process, observe: Observer | None = None
) -> MoleculeSet:
    """Run molecules from any state to the end, together; as from `sample`, `nfe` including the calls before."""
    own = checkpoint.config.sampler
    engine = Engine(checkpoint, len(state.ids), own.memory_budget, own.precision, observe)
    request_id, done = engine.resume(state, process), dict[int, MoleculeSet]()
    while request_id not in done:
        done = engine.step()
    return done[request_id]
