"""The table of policies: what `sampler.policy` may be, and how each is made from the other settings."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ead_core.config import SamplerConfig
from ead_core.diffusion.policy import Adaptive, Manual, Policy, RandomPauses, Synchronous
from ead_core.errors import ConfigError


@dataclass(frozen=True)
class Run:
    """What a policy is made for.

    Attributes:
        grid: [R + 1] ascending levels of the sampling grid.
        clamp: by how many levels the atoms of a molecule may differ.
        largest: atoms of the biggest molecule.
        top: T; None is where the grid begins.
    """

    grid: Tensor
    clamp: int
    largest: int
    top: int | None = None

    def steps_within(self) -> int:
        """How many grid steps apart two atoms may be, wherever they are, for their levels to fit the clamp.

        Raises:
            ConfigError: not even one, because a step of the grid is longer.
        """
        grid = self.grid
        longest = min(self.clamp, len(grid) - 1)
        apart = [k for k in range(1, longest + 1) if int((grid[k:] - grid[:-k]).max()) <= self.clamp]
        if not apart:
            raise self._too_coarse(int(grid.diff().max()))
        return apart[-1]

    def stage(self, async_ratio: float) -> tuple[int, int]:
        """Grid steps of the asynchronous stage, and the clamp (ConfigError: all of these steps are longer)."""
        top = int(self.grid[-1]) if self.top is None else self.top
        steps = int((self.grid <= round(async_ratio * top)).sum()) - 1
        shortest = int(self.grid[: steps + 2].diff().min())  # with the step into the stage
        if shortest > self.clamp:
            raise self._too_coarse(shortest)
        return steps, self.clamp

    def _too_coarse(self, stride: int) -> ConfigError:
        return ConfigError(
            f"sampler.steps is so small that one step spans {stride} levels, more than "
            f"sampler.interval={self.clamp}; use more steps, another sampler.grid or sampler.policy=synchronous."
        )


@dataclass(frozen=True)
class PolicyKind:
    """A row of the table.

    Attributes:
        build: the policy for a run, from the sampler section (ConfigError if they do not fit).
        spreads: whether atoms of a molecule may be at different levels.
    """

    build: Callable[[SamplerConfig, Run], Policy]
    spreads: bool = True


def _manual(config: SamplerConfig, run: Run) -> Policy:
    spread, most = config.lag * ((run.largest - 1) // config.group_size), run.steps_within()
    if spread > most:
        raise ConfigError(
            f"sampler.lag={config.lag} with sampler.group_size={config.group_size} spreads "
            f"the {run.largest} atoms over {spread} steps of the grid; "
            f"at most {most} are allowed (sampler.interval)."
        )
    return Manual(len(run.grid) - 1, config.group_size, config.lag)


def _adaptive(config: SamplerConfig, run: Run) -> Policy:
    return Adaptive(*run.stage(config.async_ratio), config.max_pauses, config.history_window, config.convergence)


def _random(config: SamplerConfig, run: Run) -> Policy:
    return RandomPauses(*run.stage(config.async_ratio), config.max_pauses, config.advance_rate, config.together)


POLICIES = {
    "synchronous": PolicyKind(lambda config, run: Synchronous(), spreads=False),
    "manual": PolicyKind(_manual),
    "adaptive": PolicyKind(_adaptive),
    "random": PolicyKind(_random),
}
