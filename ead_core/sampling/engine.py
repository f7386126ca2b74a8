"""Continuous batching: the molecules of any number of requests, at any stage, share network calls.

Levels are per atom, so a molecule that has just begun and one that is nearly clean fit into one call. Molecules join
when there is room and leave when they are clean, whatever the others do, and each is the one it would be alone (to
rounding): all of its noise is keyed by its own seed, id and iteration. Where there is not room for all, requests take
turns, so that none waits for the end of another.

Legend: B molecules, N padded atoms.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.config import SamplerConfig
from ead_core.data.store import MoleculeSet
from ead_core.data.tensors import size_mask, without_dummies
from ead_core.diffusion.context import guide
from ead_core.diffusion.process import Process
from ead_core.networks.memory import molecules_per_call
from ead_core.networks.precision import computed
from ead_core.sampling.fragments import Fragment
from ead_core.sampling.micro_batches import LABEL, Cohort, grouped, merge
from ead_core.sampling.request_states import Order
from ead_core.sampling.requests import Request, prepare
from ead_core.sampling.sampler import advance, calls_after, decode
from ead_core.sampling.state import SamplerState, initial_state

Observer = Callable[[Cohort, SamplerState], None]  # molecules before a move, and their state after it
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
        self._checkpoint, self._observe = checkpoint, observe
        self._denoiser = computed(checkpoint.denoiser, precision)
        self._weight = next(checkpoint.denoiser.parameters())
        self._tickets = itertools.count()
        # Of requests in work, so that those with equal settings share cohorts.
        self._processes: WeakValueDictionary[tuple[SamplerConfig, bool], Process] = WeakValueDictionary()
        self._orders: dict[int, Order] = {}
        self._arrived = False  # whether there are requests that have never been looked at
        self._cancelled: set[int] = set()
        self._served: list[tuple[Order, int]] = []  # requests with molecules in the calls, and how many
        self._batches: list[list[Cohort]] = []
        self._quiet = 0  # calls before a molecule can have become clean
        self._clock = 0.0  # seconds that a molecule running from the start would have been charged

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._orders)

    @property
    def running(self) -> set[int]:
        """Tickets of the requests with molecules in the present network calls."""
        return {int(ticket) for cohort in self._cohorts() for ticket in cohort.labels["ticket"]}

    def submit(self, request: Request) -> int:
        """Take in a request and return its ticket.

        Raises:
            ConfigError: what `prepare` refuses.
        """
        (process, start), kept = prepare(self._checkpoint, request), request.fragment
        shared = self._processes.setdefault((request.sampler, process.pinned), process)
        channels = 3 + self._checkpoint.atom_types.num_features

        def begin(rows: NDArray[Any]) -> SamplerState:
            mask, ids = size_mask(start.sizes[rows]), request.ids[torch.from_numpy(rows)]
            keys = torch.full_like(ids, request.seed), ids, mask, start.context[torch.from_numpy(rows)]
            seeds, ids, mask, context = (key.to(self._weight.device) for key in keys)
            state = initial_state(seeds, ids, mask, channels, shared, self._weight.dtype, context)
            return kept.begin(state, self._checkpoint.atom_types) if kept else state

        return self._enter(shared, begin, start.sizes, start.properties, kept)

    def resume(self, state: SamplerState, process: Process) -> int:
        """Take in molecules at any stage and return their ticket; `nfe` counts the calls before as well."""

        def begin(rows: NDArray[Any]) -> SamplerState:
            return state.select(torch.from_numpy(rows).to(state.z.device))

        return self._enter(process, begin, state.mask.sum(dim=1).cpu().numpy(), {})

    def cancel(self, ticket: int) -> None:
        """Forget a request; its molecules leave with the next step."""
        self._cancelled.add(ticket)

    @torch.inference_mode()
    def step(self) -> dict[int, MoleculeSet]:
        """One network call for every running molecule, and another for those that are guided.

        Returns:
            The requests that it completes, by ticket: molecules in the order of their ids with the properties `id`,
            `nfe` (network calls, decoding and guidance included) and `seconds` (share of the wall clock), and with
            targets `target_…` and `warning` (conditions.py).
        """
        start = time.perf_counter()
        if self._quiet == 0 or self._cancelled or self._arrived:
            self._arrange()
        self._quiet -= 1
        for order, count in self._served:
            order.served += count
        molecules, decoded = self._occupied(), []
        for batch in self._batches:
            for number, (cohort, eps) in enumerate(zip(batch, self._predict(batch), strict=True)):
                if cohort.clean:
                    decoded.append((cohort, *decode(cohort.state, eps, cohort.process)))
                else:
                    batch[number] = replace(cohort, state=advance(cohort.state, eps, cohort.process))
                    if self._observe is not None:
                        self._observe(cohort, batch[number].state)
        self._clock += (time.perf_counter() - start) / max(1, molecules)
        if decoded:
            self._quiet = 0  # there is room again
            self._batches = [[cohort for cohort in batch if not cohort.clean] for batch in self._batches]
        return {ticket: self._orders.pop(ticket).molecules() for found in decoded for ticket in self._deliver(*found)}

    def _enter(
        self,
        process: Process,
        begin: Callable[[NDArray[Any]], SamplerState],
        sizes: NDArray[Any],
        asked: Mapping[str, NDArray[Any]],
        fragment: Fragment | None = None,
    ) -> int:
        ticket, labels = next(self._tickets), np.zeros(len(sizes), LABEL)
        labels["ticket"], labels["place"], labels["size"] = ticket, np.arange(len(sizes)), sizes
        order = Order(process, begin, labels, np.argsort(sizes, kind="stable"), asked, fragment)
        order.served = min((other.served for other in list(self._orders.values())), default=0)
        self._orders[ticket] = order
        self._arrived = True
        return ticket

    def _cohorts(self) -> Iterable[Cohort]:
        return (cohort for batch in self._batches for cohort in batch)

    def _most(self, atoms: int) -> int:
        """Molecules that one network call takes if the largest has `atoms` atoms."""
        return molecules_per_call(self._checkpoint.denoiser, atoms, self.memory_budget)

    def _occupied(self) -> int:
        return sum(len(cohort.labels) for cohort in self._cohorts())

    def _arrange(self) -> None:
        """Let molecules leave, begin, and meet others of their size; without guidance only here the host waits."""
        self._arrived = False
        cohorts = self._seated(self._without_cancelled())
        alike: dict[tuple[int, bool], list[Cohort]] = {}
        soonest = []
        for cohort in cohorts:
            left = cohort.state.rungs.amax(dim=1).cpu().numpy()
            soonest += left[left > 0].tolist()
            for clean in (False, True):
                rows = np.flatnonzero((left == 0) == clean)
                if len(rows):
                    alike.setdefault((id(cohort.process), clean), []).append(replace(cohort.select(rows), clean=clean))
        # A molecule becomes clean no sooner than its highest atom has gone down all of its rungs.
        self._quiet = min(soonest, default=1)
        orders = list(self._orders.values())
        if len(orders) > 1 and sum(order.unmade for order in orders) > self.batch_size:
            self._quiet = min(self._quiet, LOOK)
        self._batches = grouped([merge(parts) for parts in alike.values()], self._most)

    def _seated(self, cohorts: list[Cohort]) -> list[Cohort]:
        """Who runs next: molecules in excess of their request's places rest, and others take the empty ones."""
        places = self._places()
        self._served = [(self._orders[ticket], count) for ticket, count in places.items() if count]
        staying = []
        for cohort in cohorts:
            stays = np.ones(len(cohort.labels), dtype=bool)
            for ticket in np.unique(cohort.labels["ticket"]).tolist():
                rows = np.flatnonzero(cohort.labels["ticket"] == ticket)
                excess = rows[places[ticket] :]
                places[ticket] -= len(rows) - len(excess)
                if len(excess):
                    stays[excess] = False
                    self._orders[ticket].rest(cohort.select(excess), self._clock)
            staying += [cohort.select(np.flatnonzero(stays))] if stays.any() else []
        joining = [self._orders[ticket].take(room, self._clock) for ticket, room in places.items()]
        return [*staying, *itertools.chain.from_iterable(joining)]

    def _places(self) -> dict[int, int]:
        """Molecules of each request that may run: all of those served least, in the order in which they came."""
        places, room = {}, self.batch_size
        orders = list(self._orders.items())  # another thread may submit meanwhile
        for ticket, order in sorted(orders, key=lambda item: (item[1].served // TURN, item[0])):
            places[ticket] = min(room, order.unmade)
            room -= places[ticket]
        return places

    def _without_cancelled(self) -> list[Cohort]:
        cohorts = list(self._cohorts())
        while self._cancelled:
            ticket = self._cancelled.pop()
            self._orders.pop(ticket, None)
            kept = [cohort.select(np.flatnonzero(cohort.labels["ticket"] != ticket)) for cohort in cohorts]
            cohorts = [cohort for cohort in kept if len(cohort.labels)]
        return cohorts

    def _predict(self, batch: list[Cohort]) -> list[Tensor]:
        """ε̂ for each cohort of a batch, from one network call, and a second one for the molecules guided there."""
        eps = self._call(batch, True)
        second = [(number, rows) for number, cohort in enumerate(batch) if len(rows := cohort.guided())]
        if second:
            parts = [batch[number].select(rows) for number, rows in second]
            for (number, rows), part, free in zip(second, parts, self._call(parts, False), strict=True):
                eps[number][rows] = guide(eps[number][rows], free, part.process.scale(part.levels))
        return eps

    def _call(self, cohorts: list[Cohort], told: bool) -> list[Tensor]:
        """The network's answer for each cohort, with their context or with nothing known."""
        states = [cohort.state for cohort in cohorts]
        levels = torch.cat([cohort.levels for cohort in cohorts])
        z, mask = torch.cat([state.z for state in states]), torch.cat([state.mask for state in states])
        context = torch.cat([state.context for state in states]) if told and self._checkpoint.denoiser.context else None
        return list(self._denoiser(z, levels, mask, context).split([len(cohort.labels) for cohort in cohorts]))

    def _deliver(self, cohort: Cohort, positions: Tensor, features: Tensor) -> Iterable[int]:
        """Hand decoded molecules to their requests; the tickets of those that are complete."""
        charges = self._checkpoint.atom_types.charges(features).cpu().numpy()
        places = positions.float().cpu().numpy()
        ids, nfe = cohort.state.ids.tolist(), calls_after(cohort.state, cohort.process).tolist()
        self.finished += len(ids)
        for row, (ticket, place, size, begun) in enumerate(cohort.labels.tolist()):
            order = self._orders[ticket]
            atoms = without_dummies(charges[row, :size], places[row, :size])
            if order.fragment is not None:
                atoms = order.fragment.restore(*atoms)
            order.made[place] = (ids[row], nfe[row], self._clock - begun, *atoms)
            if len(order.made) == len(order.labels):
                yield ticket
