"""The border: what a client asks for is turned into a request that can be served, or refused by field and range.

Everything is checked here, before the engine, so that no client can break the work of others.
"""

from dataclasses import replace

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.data import priors
from ead_core.data.targets import TargetError, Targets
from ead_core.diffusion.process import Process
from ead_core.errors import ConfigError
from ead_core.sampling.branching import BranchPlan
from ead_core.sampling.conditions import Sizes
from ead_core.sampling.in_range import RangeCheck
from ead_core.sampling.matching import Matching
from ead_core.sampling.order import MatchOrder, Order, check_repairs, criteria_of
from ead_core.sampling.requests import Request, of_largest, prepare, sampler_config
from serve.fields import AtomRange
from serve.refusals import RefusalError, place_of
from serve.schema import MoleculesRequest, Wanted
from serve.settings import ServeSettings
from serve.wishes import match_order, place_of_target, table_of, with_each_size


class Border:
    """Admits requests to a model within the limits of the service.

    Args:
        checkpoint: the model served.
        settings: of the service.

    Raises:
        ConfigError: the checkpoint's own sampler settings exceed the limits, or its largest molecules their budget.
    """

    def __init__(self, checkpoint: Checkpoint, settings: ServeSettings) -> None:
        self.checkpoint, self.settings = checkpoint, settings
        sizes = checkpoint.statistics.sizes
        self.sizes = AtomRange(smallest=min(sizes), largest=max(sizes))
        own = checkpoint.config.sampler
        process = prepare(checkpoint, of_largest(checkpoint, Request(1, own))).process
        calls = worst_calls(process, self.sizes.largest, BranchPlan.of(own, process), guided=True)
        for limit in ("max_network_calls", "max_request_calls"):
            if calls > getattr(settings, limit):
                raise ConfigError(
                    f"{limit} must be at least {calls}, which a molecule may need with the checkpoint's own "
                    f"settings, not {getattr(settings, limit)}."
                )

    def admit(self, wanted: Wanted) -> Request:
        """The engine's request for a client's body; its `num` is the most attempts of an order, or how many wishes.

        Raises:
            RefusalError: a value outside its range.
        """
        order = self.order(wanted)
        if not isinstance(order, MatchOrder):
            self._check_number("num", wanted.num)
        if isinstance(wanted, MoleculesRequest):
            self._check_timeout(wanted.timeout)
        sizes = self._sizes(wanted)
        try:
            request = self._request(wanted, sizes, accepts=order is not None)
            return replace(request, num=self._most(wanted, request, order))
        except TargetError as error:
            raise RefusalError(place_of_target(error, wanted.targets), str(error)) from error
        except ConfigError as error:
            raise RefusalError(place_of(str(error)), str(error)) from error

    def _request(self, wanted: Wanted, sizes: Sizes, accepts: bool) -> Request:
        changes = wanted.sampler.changes()
        if changes.get("repair_attempts"):  # the other keys may come from `GET /v1/model`, which shows all
            check_repairs(changes, accepts)
        sampler = sampler_config(
            self.checkpoint, changes | {"batch_size": self.settings.batch_molecules}, wanted.preset
        )
        targets, num = self._targets(wanted), wanted.num
        if targets and wanted.match:
            num = len(targets.rows)
        return Request(num, sampler, wanted.seed, sizes=sizes, targets=targets)

    def _targets(self, wanted: Wanted) -> Targets | None:
        if isinstance(wanted.targets, list):
            sizes = None if self.checkpoint.atom_types.has_dummies else self.sizes
            return table_of(wanted.targets, sizes, self.settings.max_molecules)
        return Targets.of(wanted.targets) if wanted.targets else None

    def _most(self, wanted: Wanted, request: Request, order: Order | MatchOrder | None) -> int:
        """How many molecules of a request are made at most, if they can be."""
        prepared = possible = prepare(self.checkpoint, request)
        open_sizes = isinstance(order, MatchOrder) or bool(order and order.limit)
        if isinstance(order, MatchOrder):
            Matching(self.checkpoint, request, order)  # says whether properties can be predicted
            prepare(self.checkpoint, with_each_size(request))
        elif order:
            RangeCheck.of(self.checkpoint, request, order.accept)
        if open_sizes:  # which sizes attempts will have is not known yet
            possible = prepare(self.checkpoint, of_largest(self.checkpoint, request))
        largest, process = int(possible.start.sizes.max()), prepared.process
        self._check_atoms(largest)
        guided = request.targets is not None and process.guidance > 0
        rounds, plan = request.sampler.repairs if order else 0, BranchPlan.of(request.sampler, process)
        repairs = rounds * worst_calls(process, largest, guided=guided)
        calls = worst_calls(process, largest, plan, guided) + repairs
        attempts = _attempts(wanted, request, order)
        self._check_calls(attempts, calls, _knobs(guided, process, rounds, plan))
        limit = order.limit if isinstance(order, Order) else None
        return min(limit, self.settings.max_request_calls // calls) if limit else request.num

    def order(self, wanted: Wanted) -> Order | MatchOrder | None:
        """What is to be delivered; None if all molecules are (RefusalError: fields that do not go together)."""
        return match_order(wanted) or self._delivery(wanted)

    def _delivery(self, wanted: Wanted) -> Order | None:
        ranged = isinstance(wanted.targets, dict) and any(
            isinstance(wish, list | tuple) for wish in wanted.targets.values()
        )
        accept = criteria_of(wanted.accept, wanted.until, ranged)
        if accept is None and wanted.until is not None:
            raise RefusalError(("body", "until"), "needs accept, which says what a delivered molecule must be.")
        if wanted.until is None and wanted.max_attempts is not None:
            raise RefusalError(("body", "max_attempts"), "needs until; without it, num is the number of attempts.")
        if wanted.until is not None:
            self._check_number("until", wanted.until)
            if "num" in wanted.model_fields_set:
                raise RefusalError(("body", "num"), "must be left out where until is given.")
        return None if accept is None else Order(accept, wanted.until, wanted.max_attempts)

    def _check_number(self, key: str, number: int) -> None:
        most = self.settings.max_molecules
        if not 1 <= number <= most:
            raise RefusalError(("body", key), f"must be between 1 and {most}, not {number}.")

    def _check_timeout(self, seconds: float | None) -> None:
        most = self.settings.max_seconds
        if seconds is not None and seconds > most:
            raise RefusalError(("body", "timeout"), f"must be at most {most:g} seconds, not {seconds:g}.")

    def _sizes(self, wanted: Wanted) -> Sizes:
        """The sizes that a body asks for, one way or the other."""
        chosen = [key for key in ("sizes", "size_range") if getattr(wanted, key) is not None]
        if chosen and self.checkpoint.atom_types.has_dummies:
            raise RefusalError(("body", chosen[0]), "must be left out, since this model decides sizes by itself.")
        if len(chosen) > 1:
            raise RefusalError(("body", "size_range"), "must be left out where sizes are given.")
        if wanted.size_range is not None:
            return self._range(wanted.size_range)
        if wanted.sizes is not None:
            self._check_sizes(wanted.sizes)
            return tuple(wanted.sizes)
        return None

    def _range(self, asked: AtomRange) -> priors.SizeRange:
        known, place = self.checkpoint.statistics.sizes, ("body", "size_range")
        if not any(asked.smallest <= size <= asked.largest for size in known):
            raise RefusalError(
                place, f"must include a size of training ({self.sizes.smallest} to {self.sizes.largest})."
            )
        return priors.SizeRange(asked.smallest, asked.largest)

    def _check_sizes(self, sizes: list[int]) -> None:
        most, place = self.settings.max_molecules, ("body", "sizes")
        if not 1 <= len(sizes) <= most:
            raise RefusalError(place, f"must hold between 1 and {most} sizes, not {len(sizes)}.")
        smallest, largest = self.sizes.smallest, self.sizes.largest
        for index, size in enumerate(sizes):
            if not smallest <= size <= largest:
                raise RefusalError(
                    (*place, index), f"must be between {smallest} and {largest} atoms, as in training, not {size}."
                )

    def _check_atoms(self, largest: int) -> None:
        """Sizes that are given have been checked already; targets may ask for more atoms by their elements."""
        if largest > self.sizes.largest:
            raise RefusalError(
                ("body", "targets"), f"must bring at most {self.sizes.largest} atoms, as in training, not {largest}."
            )

    def _check_calls(self, attempts: dict[str, int], calls: int, knobs: str) -> None:
        """Refuse too many attempts, by the field that asks for them, each of which may need so many `calls`."""
        most, budget = self.settings.max_network_calls, self.settings.max_request_calls
        if calls > most:
            raise RefusalError(
                ("body", "sampler"),
                f"a molecule may need {calls} network calls with these settings, and at most {most} are served; "
                f"lower {knobs}.",
            )
        for key, asked in attempts.items():
            if asked * calls > budget:
                raise RefusalError(
                    ("body", key),
                    f"{asked} molecules that may need {calls} network calls each are more than the {budget} calls "
                    f"of one request; ask for at most {budget // calls} with these settings, or lower {knobs}.",
                )


def _attempts(wanted: Wanted, request: Request, order: Order | MatchOrder | None) -> dict[str, int]:
    """How many molecules a body asks the engine for, by the field that says it."""
    if isinstance(order, MatchOrder):
        return {"max_attempts": order.attempts(request.num)[1]}
    fields = ("until", "max_attempts") if order and order.limit else ("num",)
    return {key: getattr(wanted, key) or 0 for key in fields}


def _knobs(guided: bool, process: Process, rounds: int, plan: BranchPlan | None) -> str:
    """The settings that the network calls of a molecule depend on, in words."""
    twice, again = "sampler.guidance, " * guided, "sampler.corrector, " * (process.corrector is not None)
    repairs, split = "sampler.repair_attempts, " * bool(rounds), "sampler.branches, " * bool(plan)
    pulls = "".join(f"sampler.{pull.setting}, " for pull in process.pulls)
    return f"{split}{twice}{again}{pulls}{repairs}sampler.max_pauses, sampler.async_ratio or sampler.steps"


def worst_calls(process: Process, largest: int, plan: BranchPlan | None = None, guided: bool = False) -> int:
    """Most network calls that a molecule of `largest` atoms may need: its moves, its pauses, and the decoding.

    Those of its branches are counted in, if there is a `plan` for them.
    Where molecules are `guided`, those calls count twice that are made within `guidance_levels`: all but one for each
    level beyond, which the first atom on its way there, or the last after it, cannot skip.
    """
    pauses = process.policy.most_pauses(largest) * (1 + process.gradient_calls)
    calls = process.most_calls + pauses + (plan.extra_calls(process, pauses) if plan else 0)
    if not guided or not process.guidance:
        return calls
    beyond = int((process.scale(process.grid) == 0).sum())
    return 2 * calls - beyond if beyond < len(process.grid) else calls
