"""Molecules on demand: streams run until one request is done."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.common.cpu import available_cores
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import Targets
from ead_core.diffusion.policy import Policy
from ead_core.diffusion.process import Process
from ead_core.networks.memory import molecules_per_call
from ead_core.sampling.conditions import Sizes, check_sizes_seen
from ead_core.sampling.engine import Engine, Observer
from ead_core.sampling.pieces import cut
from ead_core.sampling.requests import Prepared, Request, prepare, sampler_config
from ead_core.sampling.state import SamplerState
from ead_core.sampling.streams import Streams

PIECES = 4  # of a stream's batch: few enough to keep network calls large, enough for streams to end together
Progress = Callable[[int], None]


def sample(  # noqa: PLR0913 (everything that a caller may ask for)
    checkpoint: Checkpoint,
    num: int,
    seed: int = 0,
    sizes: Sizes = None,
    progress: Progress = lambda done: None,
    first: int = 0,
    targets: Targets | Mapping[str, float | Sequence[float]] | None = None,
    *,
    policy: str | Policy | None = None,
    threads: int | None = 1,
    beyond_training: bool = False,
    **settings: object,
) -> MoleculeSet:
    """Generate molecules with a trained model.

    Args:
        checkpoint: from `load_checkpoint`.
        num, seed, sizes, first: see `Request`.
        progress: receives the number of molecules finished since its last call.
        targets: rows of targets, or a value or (low, high) by property for all molecules; in border units
            (data/properties.py).
        policy: a value of `sampler.policy`, or a policy of your own.
        threads: cores to use, each by a process of its own; None uses all that there are (see `streams_for`).
        beyond_training: allow numbers of atoms that no training molecule has.
        settings: keys of the sampler section without their prefix, e.g. `async_ratio=0.2`.

    Returns:
        The molecules in the order of their ids, with the properties `id`, `nfe` (network calls) and `seconds` (each
        molecule's share of the time of the core that made it); with targets also `target_gap` and so on (the value
        asked for, NaN where it is open) and `warning` ('' or which targets lie outside of training).

    Raises:
        ConfigError: an unknown setting or property, or a value out of range.
    """
    named = {"policy": policy} if isinstance(policy, str) else {}
    config = sampler_config(checkpoint, {**settings, **named})
    given = tuple(sizes) if isinstance(sizes, Sequence) else sizes
    wanted = Targets.of(targets) if isinstance(targets, Mapping) else targets
    own = policy if isinstance(policy, Policy) else None
    request = Request(num, config, seed, first, given, wanted, policy=own)
    prepared = prepare(checkpoint, request)
    if not beyond_training:
        check_sizes_seen(checkpoint, prepared.start.sizes)
    return fulfil(checkpoint, prepared, progress, threads=threads)


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


def complete(
    checkpoint: Checkpoint, state: SamplerState, process: Process, observe: Observer | None = None
) -> MoleculeSet:
    """Run molecules from any state to the end, together; as from `sample`, `nfe` including the calls before."""
    own = checkpoint.config.sampler
    engine = Engine(checkpoint, len(state.ids), own.memory_budget, own.precision, observe)
    return _run(engine, engine.resume(state, process), lambda done: None)


def _run(engine: Engine, request_id: int, progress: Progress) -> MoleculeSet:
    done: dict[int, MoleculeSet] = {}
    while request_id not in done:
        before = engine.finished
        done = engine.step()
        if engine.finished > before:
            progress(engine.finished - before)
    return done[request_id]
