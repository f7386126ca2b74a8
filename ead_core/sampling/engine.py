"""Continuous batching: the molecules of any number of requests, at any stage, share network calls.

Levels are per atom, so a molecule that has just begun and one that is nearly clean fit into one call. Molecules join
when there is room and leave when they are clean, whatever the others do, and each is the one it would be alone (to
rounding): all of its noise is keyed by its own seed, id and iteration. Where there is not room for all, requests take
turns, so that none waits for the end of another.

Legend: B molecules, N padded atoms.
"""

import itertools
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.data.store import MoleculeSet
from ead_core.data.tensors import size_mask, without_dummies
from ead_core.diffusion.process import Process
from ead_core.networks.memory import molecules_per_call
from ead_core.sampling.branching import WHOLE, Branching
from ead_core.sampling.fragments import Fragment
from ead_core.sampling.micro_batches import LABEL, MicroBatch, grouped, merge
from ead_core.sampling.network_calls import calls_after, predict_noise
from ead_core.sampling.request_states import RequestState
from ead_core.sampling.requests import Prepared, Request, branching_of, prepare
from ead_core.sampling.sampler import advance, decode, foresee
from ead_core.sampling.state import SamplerState, initial_state

Observer = Callable[[MicroBatch, SamplerState], None]  # molecules before a move, and their state after it
TURN = 1024  # molecules times network calls that a request is served before others come first
LOOK = 16  # steps after which turns are looked at while molecules wait


class Engine:
    """Generates the molecules of requests, which may come at any time, step by step.

    `submit`, `resume` and `cancel` may be called while another thread is in `step`.

    Args:
        checkpoint: the model, on its device.
        batch_size: most molecules that run at once.
        memory_budget: GiB that a network call may hold.
        precision: of the network calls, which requests share, whatever their own sections say.
        observe: sees every move of every molecule.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        batch_size: int,
        memory_budget: float,
        precision: str = "auto",
        observe: Observer | None = None,
    ) -> None:
        self.batch_size, self.memory_budget = batch_size, memory_budget
        self.finished = 0  # molecules
        self.checkpoint, self._observe = checkpoint, observe
        self._denoiser = checkpoint.noise_predictor(precision)
        self._weight = next(checkpoint.denoiser.parameters())
        self._request_ids = itertools.count()
        # Of requests in work, so that those with equal settings share micro-batches.
        self._processes: WeakValueDictionary[Hashable, Process] = WeakValueDictionary()
        self._requests: dict[int, RequestState] = {}
        self._arrived = False  # whether there are requests that have never been looked at
        self._cancelled: set[int] = set()
        self._served: list[tuple[RequestState, int]] = []  # requests with molecules in the calls, and how many
        self._batches: list[list[MicroBatch]] = []
        self._quiet = 0  # calls before a molecule can have become clean
        self._clock = 0.0  # seconds that a molecule running from the start would have been charged

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._requests)

    @property
    def running(self) -> set[int]:
        """Ids of the requests with molecules in the present network calls."""
        return {int(request_id) for part in self._micro_batches() for request_id in part.labels["request_id"]}

    def submit(self, wanted: Request | Prepared) -> int:
        """Take in a request and return its request id.

        Args:
            wanted: what `prepare` has made of a request for this checkpoint, or the request itself.

        Raises:
            ConfigError: what `prepare` refuses.
        """
        prepared = prepare(self.checkpoint, wanted) if isinstance(wanted, Request) else wanted
        request, process, start = prepared.request, prepared.process, prepared.start
        kept, wishes = request.fragment, {"composition": prepared.composition, "wanted": prepared.wanted}
        alike = request.sampler, id(request.policy), process.pinned, *(pull.kind for pull in process.pulls)
        shared = self._processes.setdefault(alike, process)
        channels = 3 + self.checkpoint.atom_types.num_features

        def begin(rows: NDArray[Any]) -> SamplerState:
            which = torch.from_numpy(rows)
            mask, ids = size_mask(start.sizes[rows]), start.ids[which]
            keys = torch.full_like(ids, request.seed), ids, mask, start.context[which]
            seeds, ids, mask, context = (key.to(self._weight.device) for key in keys)
            state = initial_state(seeds, ids, mask, channels, shared, self._weight.dtype, context)
            given = {name: wish[which].to(ids.device) for name, wish in wishes.items() if wish is not None}
            state = replace(state, **given)
            return kept.begin(state, self.checkpoint.atom_types) if kept else state

        branching = branching_of(request, shared, start)
        return self._enter(shared, begin, start.sizes, prepared.properties, kept, branching)

    def resume(self, state: SamplerState, process: Process) -> int:
        """Take in molecules at any stage and return their request id; `nfe` counts the calls before as well."""

        def begin(rows: NDArray[Any]) -> SamplerState:
            return state.select(torch.from_numpy(rows).to(state.z.device))

        return self._enter(process, begin, state.mask.sum(dim=1).cpu().numpy(), {})

    def cancel(self, request_id: int) -> None:
        """Forget a request; its molecules leave with the next step."""
        self._cancelled.add(request_id)

    @torch.inference_mode()
    def step(self) -> dict[int, MoleculeSet]:
        """One network call for every running molecule, and another for those that are guided.

        Returns:
            The requests that it completes, by request id: molecules in the order of their ids with the properties `id`,
            `nfe` (network calls, decoding and guidance included) and `seconds` (share of the wall clock), and with
            targets `target_…` and `warning` (conditions.py).
        """
        start = time.perf_counter()
        if self._quiet == 0 or self._cancelled or self._arrived:
            self._arrange()
        self._quiet -= 1
        for request_state, count in self._served:
            request_state.served += count
        molecules, decoded = self._occupied(), []
        for batch in self._batches:
            predicted = predict_noise(self._denoiser, [(part.state, part.process) for part in batch])
            for number, (part, eps) in enumerate(zip(batch, predicted, strict=True)):
                if part.clean:
                    decoded.append((part, *decode(part.state, eps, part.process)))
                else:
                    if part.foreseen:
                        self._judge(part, *foresee(part.state, eps, part.process))
                    batch[number] = replace(part, state=advance(part.state, eps, part.process))
                    if self._observe is not None:
                        self._observe(part, batch[number].state)
        self._clock += (time.perf_counter() - start) / max(1, molecules)
        if decoded:
            self._quiet = 0  # there is room again
            self._batches = [[part for part in batch if not part.clean] for batch in self._batches]
        return {
            request_id: self._requests.pop(request_id).molecules()
            for found in decoded
            for request_id in self._deliver(*found)
        }

    def _enter(
        self,
        process: Process,
        begin: Callable[[NDArray[Any]], SamplerState],
        sizes: NDArray[Any],
        asked: Mapping[str, NDArray[Any]],
        fragment: Fragment | None = None,
        branching: Branching | None = None,
    ) -> int:
        request_id, labels = next(self._request_ids), np.zeros(len(sizes), LABEL)
        labels["request_id"], labels["place"], labels["size"] = request_id, np.arange(len(sizes)), sizes
        labels["score"], labels["branch"] = np.nan, WHOLE
        labels["due"] = branching.plan.split if branching else 0
        request_state = RequestState(
            process, begin, labels, np.argsort(sizes, kind="stable"), asked, fragment, branching
        )
        request_state.served = min((other.served for other in list(self._requests.values())), default=0)
        self._requests[request_id] = request_state
        self._arrived = True
        return request_id

    def _micro_batches(self) -> Iterable[MicroBatch]:
        return (part for batch in self._batches for part in batch)

    def _most(self, atoms: int) -> int:
        """Molecules that one network call takes if the largest has `atoms` atoms."""
        return molecules_per_call(self.checkpoint.denoiser, atoms, self.memory_budget)

    def _occupied(self) -> int:
        return sum(len(part.labels) for part in self._micro_batches())

    def _arrange(self) -> None:
        """Let molecules leave, begin, and meet others of their size; without guidance only here the host waits."""
        self._arrived = False
        decided = [each for part in self._without_cancelled() for each in self._decided(part)]
        alike: dict[tuple[int, bool, bool], list[MicroBatch]] = {}
        soonest = []
        for part in self._seated(decided):
            left = part.state.grid_index.amax(dim=1).cpu().numpy()
            foreseen = (left > 0) & (left <= part.labels["due"])
            soonest += np.where(foreseen, 1, left - part.labels["due"])[left > 0].tolist()
            for clean, seen in ((False, False), (False, True), (True, False)):
                rows = np.flatnonzero(((left == 0) == clean) & (foreseen == seen))
                if len(rows):
                    chosen = replace(part.select(rows), clean=clean, foreseen=seen)
                    alike.setdefault((id(part.process), clean, seen), []).append(chosen)
        # A molecule becomes clean, or is decided on, no sooner than its highest atom has gone down all steps to there.
        self._quiet = min(soonest, default=1)
        request_states = list(self._requests.values())
        if len(request_states) > 1 and sum(request_state.unmade for request_state in request_states) > self.batch_size:
            self._quiet = min(self._quiet, LOOK)
        self._batches = grouped([merge(parts) for parts in alike.values()], self._most)

    def _decided(self, part: MicroBatch) -> Iterable[MicroBatch]:
        """The molecules of a part without branches that end or wait for others, and split where they are to be."""
        request_ids = part.labels["request_id"]
        if not (part.labels["due"] > 0).any():
            yield part
            return
        for request_id in np.unique(request_ids).tolist():
            own = part.select(np.flatnonzero(request_ids == request_id))
            yield from self._requests[request_id].decide(own, self._clock)

    def _judge(self, part: MicroBatch, positions: Tensor, features: Tensor) -> None:
        """Let branches be judged by what is predicted of them."""
        molecules = list(self._decoded(part, positions, features))
        for request_id in np.unique(part.labels["request_id"]).tolist():
            branching = self._requests[request_id].branching
            assert branching is not None  # since they are branches
            rows = np.flatnonzero(part.labels["request_id"] == request_id)
            labels = part.labels[rows]
            branching.judge(labels, MoleculeSet.from_lists(*zip(*(molecules[row] for row in rows), strict=True)))
            part.labels[rows] = labels

    def _decoded(
        self, part: MicroBatch, positions: Tensor, features: Tensor
    ) -> Iterable[tuple[NDArray[Any], NDArray[Any]]]:
        """Atomic numbers and positions of every molecule, without its padding and empty slots."""
        charges, places = self.checkpoint.atom_types.charges(features).cpu().numpy(), positions.float().cpu().numpy()
        for row, size in enumerate(part.labels["size"].tolist()):
            yield without_dummies(charges[row, :size], places[row, :size])

    def _seated(self, micro_batches: list[MicroBatch]) -> list[MicroBatch]:
        """Who runs next: molecules in excess of their request's places rest, and others take the empty ones."""
        places = self._places()
        self._served = [(self._requests[request_id], count) for request_id, count in places.items() if count]
        staying = []
        for part in micro_batches:
            stays = np.ones(len(part.labels), dtype=bool)
            for request_id in np.unique(part.labels["request_id"]).tolist():
                rows = np.flatnonzero(part.labels["request_id"] == request_id)
                excess = rows[places[request_id] :]
                places[request_id] -= len(rows) - len(excess)
                if len(excess):
                    stays[excess] = False
                    self._requests[request_id].rest(part.select(excess), self._clock)
            staying += [part.select(np.flatnonzero(stays))] if stays.any() else []
        joining = [self._requests[request_id].take(room, self._clock) for request_id, room in places.items()]
        return [*staying, *itertools.chain.from_iterable(joining)]

    def _places(self) -> dict[int, int]:
        """Molecules of each request that may run: all of those served least, in the order in which they came."""
        places, room = {}, self.batch_size
        request_states = list(self._requests.items())  # another thread may submit meanwhile
        for request_id, request_state in sorted(request_states, key=lambda item: (item[1].served // TURN, item[0])):
            places[request_id] = min(room, request_state.unmade)
            room -= places[request_id]
        return places

    def _without_cancelled(self) -> list[MicroBatch]:
        micro_batches = list(self._micro_batches())
        while self._cancelled:
            request_id = self._cancelled.pop()
            self._requests.pop(request_id, None)
            kept = [part.select(np.flatnonzero(part.labels["request_id"] != request_id)) for part in micro_batches]
            micro_batches = [part for part in kept if len(part.labels)]
        return micro_batches

    def _deliver(self, part: MicroBatch, positions: Tensor, features: Tensor) -> Iterable[int]:
        """Hand decoded molecules to their requests; the request ids of those that are complete."""
        ids, nfe = part.state.ids.tolist(), calls_after(part.state, part.process).tolist()
        for row, atoms in enumerate(self._decoded(part, positions, features)):
            label = part.labels[row]
            request_state = self._requests[int(label["request_id"])]
            kept = request_state.fragment
            whole = kept.restore(*atoms) if kept else atoms
            self.finished += request_state.finish(label, ids[row], nfe[row], self._clock - label["begun"], *whole)
            if request_state.unmade == 0:
                yield int(label["request_id"])
