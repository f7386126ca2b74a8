"""Molecules on demand: the engine run until one request is done."""

from collections.abc import Callable, Mapping, Sequence

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.common.cpu import torch_threads
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import Targets
from ead_core.diffusion.policy import Policy
from ead_core.diffusion.process import Process
from ead_core.sampling.conditions import Sizes, check_sizes_seen
from ead_core.sampling.engine import Engine, Observer
from ead_core.sampling.requests import Prepared, Request, prepare, sampler_config
from ead_core.sampling.state import SamplerState

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
        threads: CPU threads of torch meanwhile; None leaves torch's choice. On cores with other work, several threads
            wait for each other and can be many times slower than one.
        beyond_training: allow numbers of atoms that no training molecule has.
        settings: keys of the sampler section without their prefix, e.g. `async_ratio=0.2`.

    Returns:
        The molecules in the order of their ids, with the properties `id`, `nfe` (network calls) and `seconds` (each
        molecule's share of the wall clock); with targets also `target_gap` and so on (the value asked for, NaN where it
        is open) and `warning` ('' or which targets lie outside of training).

    Raises:
        ConfigError: an unknown setting or property, or a value out of range.
    """
    named = {"policy": policy} if isinstance(policy, str) else {}
    config = sampler_config(checkpoint, {**settings, **named})
    given = tuple(sizes) if isinstance(sizes, Sequence) else sizes
    wanted = Targets.of(targets) if isinstance(targets, Mapping) else targets
    own = policy if isinstance(policy, Policy) else None
    request = Request(num, config, seed, first, given, wanted, policy=own)
    with torch_threads(threads):
        prepared = prepare(checkpoint, request)
        if not beyond_training:
            check_sizes_seen(checkpoint, prepared.start.sizes)
        return fulfil(checkpoint, prepared, progress)


def fulfil(
    checkpoint: Checkpoint,
    wanted: Request | Prepared,
    progress: Progress = lambda done: None,
    observe: Observer | None = None,
) -> MoleculeSet:
    """The molecules of one request, as from `sample`."""
    own = (wanted if isinstance(wanted, Request) else wanted.request).sampler
    engine = Engine(checkpoint, own.batch_size, own.memory_budget, own.precision, observe)
    return _run(engine, engine.submit(wanted), progress)


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
