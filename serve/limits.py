"""The border: what a client asks for is turned into a request that can be served, or refused by field and range.

Everything is checked here, before the engine, so that no client can break the work of others.
"""

import re

from ead_core.data import priors
from ead_core.data.targets import TargetError, Targets
from ead_core.diffusion.policy import Asynchronous, Manual
from ead_core.diffusion.process import Process
from ead_core.diffusion.requests import Request, of_largest, prepare, sampler_config
from ead_core.errors import ConfigError, EADError
from ead_core.training.checkpoint import Checkpoint
from serve.schema import MoleculesRequest, SizeRange
from serve.settings import ServeSettings

Location = tuple[str | int, ...]


class RefusalError(EADError):
    """A request outside what is accepted; `location` names the field, as in FastAPI's own errors."""

    def __init__(self, location: Location, sentence: str) -> None:
        super().__init__(sentence)
        self.location = location


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
        self.sizes = SizeRange(smallest=min(sizes), largest=max(sizes))
        process, _ = prepare(checkpoint, of_largest(checkpoint, Request(1, checkpoint.config.sampler)))
        calls = worst_calls(process, self.sizes.largest, guided=True)
        if calls > settings.max_network_calls:
            raise ConfigError(
                f"max_network_calls must be at least {calls}, which a molecule may need with the checkpoint's own "
                f"settings, not {settings.max_network_calls}."
            )

    def admit(self, wanted: MoleculesRequest) -> Request:
        """The engine's request for a client's body.

        Raises:
            RefusalError: a value outside its range.
        """
        self._check_num(wanted.num)
        sizes = self._sizes(wanted)
        try:
            settings = wanted.sampler.changes() | {"batch_size": self.settings.batch_molecules}
            targets = Targets.of(wanted.targets) if wanted.targets else None
            sampler = sampler_config(self.checkpoint, settings)
            request = Request(wanted.num, sampler, wanted.seed, sizes=sizes, targets=targets)
            process, start = prepare(self.checkpoint, request)
        except TargetError as error:
            raise RefusalError(("body", "targets", *filter(None, [error.property])), str(error)) from error
        except ConfigError as error:
            raise RefusalError(_location(str(error)), str(error)) from error
        self._check_atoms(int(start.sizes.max()))
        self._check_cost(process, int(start.sizes.max()), targets is not None)
        return request

    def _check_num(self, num: int) -> None:
        most = self.settings.max_molecules
        if not 1 <= num <= most:
            raise RefusalError(("body", "num"), f"must be between 1 and {most}, not {num}.")

    def _sizes(self, wanted: MoleculesRequest) -> tuple[int, ...] | priors.SizeRange | None:
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

    def _range(self, asked: SizeRange) -> priors.SizeRange:
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

    def _check_cost(self, process: Process, largest: int, guided: bool) -> None:
        calls, most = worst_calls(process, largest, guided), self.settings.max_network_calls
        guidance = "sampler.guidance, " if guided and process.guidance else ""
        if calls > most:
            raise RefusalError(
                ("body", "sampler"),
                f"a molecule may need {calls} network calls with these settings, and at most {most} are served; "
                f"lower {guidance}sampler.max_pauses, sampler.async_ratio or sampler.steps.",
            )


def worst_calls(process: Process, largest: int, guided: bool = False) -> int:
    """Most network calls that a molecule of `largest` atoms may need: its moves, its pauses, and the decoding.

    At most all of them twice, if it has targets (`guided`) and there is guidance.
    """
    rungs = len(process.grid) - 1
    match process.policy:
        case Asynchronous(start=start, max_pauses=pauses):
            waits = start * pauses
        case Manual(lag=lag, group_size=size):
            waits = lag * ((largest - 1) // size)
        case _:
            waits = 0
    return (rungs + waits + 1) * (2 if guided and process.guidance else 1)


def _location(sentence: str) -> Location:
    """The place of the key that a sentence of the core is about, which is the first it names."""
    key = re.search(r"sampler\.\w+", sentence)
    return ("body", "sampler", key.group()) if key else ("body", "sampler")
