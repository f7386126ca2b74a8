"""From the sampler section of a recipe to a process, checked against the training of the checkpoint."""

from torch import Tensor

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.config import SamplerConfig
from ead_core.diffusion.grid import sampling_grid
from ead_core.diffusion.policy import Adaptive, Manual, Policy, RandomPauses, Synchronous
from ead_core.diffusion.process import Process
from ead_core.errors import ConfigError
from ead_core.networks.precision import with_precision


def build_process(checkpoint: Checkpoint, config: SamplerConfig, largest: int, pinned: bool = False) -> Process:
    """Everything a run needs, checked against the training of the checkpoint.

    Args:
        checkpoint: the model.
        config: the settings.
        largest: atoms of the biggest molecule.
        pinned: whether molecules have held atoms.

    Raises:
        ConfigError: settings that do not fit each other or the checkpoint.
    """
    if config.guidance and not checkpoint.statistics.properties:
        raise ConfigError(
            f"sampler.guidance={config.guidance:g} needs a model that was trained with properties "
            f"(conditioning.properties), which {checkpoint.name} was not; leave it at 0."
        )
    levels, trained = checkpoint.config.diffusion.steps, checkpoint.config.diffusion.interval
    steps = config.steps or levels
    if steps > levels:
        raise ConfigError(f"sampler.steps must be at most the {levels} levels of training, not {steps}.")
    clamp = trained if config.interval is None else config.interval
    if config.policy != "synchronous":
        _check_training(clamp, trained)
    grid = sampling_grid(levels, steps, config.grid)
    return Process(
        denoiser=with_precision(checkpoint.denoiser, config.precision),
        schedule=checkpoint.schedule,
        grid=grid.to(next(checkpoint.denoiser.parameters()).device),
        policy=build_policy(config, grid, clamp, largest),
        pause_mode="hold" if config.policy == "manual" else config.pause_mode,
        decision=config.decision,
        solver=config.solver,
        velocity=config.velocity,
        frame=checkpoint.config.diffusion.gauge,
        guidance=config.guidance,
        guidance_levels=config.guidance_levels,
        pinned=pinned,
    )


def build_policy(config: SamplerConfig, grid: Tensor, clamp: int, largest: int) -> Policy:
    """The policy of a sampler section on a grid; `clamp` is in levels, `largest` the biggest molecule.

    Raises:
        ConfigError: a step longer than the clamp where atoms may differ, or a manual pyramid wider than the clamp.
    """
    if config.policy == "synchronous":
        return Synchronous()
    if config.policy == "manual":
        spread = config.lag * ((largest - 1) // config.group_size)
        clamp_steps = _steps_within(clamp, grid)
        if spread > clamp_steps:
            raise ConfigError(
                f"sampler.lag={config.lag} with sampler.group_size={config.group_size} spreads "
                f"the {largest} atoms over {spread} steps of the grid; "
                f"at most {clamp_steps} are allowed (sampler.interval)."
            )
        return Manual(len(grid) - 1, config.group_size, config.lag)
    start = int((grid <= round(config.async_ratio * int(grid[-1]))).sum()) - 1
    clamp_steps = _steps_within(clamp, grid[: start + 2])  # the stage, and the step into it
    if config.policy == "random":
        return RandomPauses(start, clamp_steps, config.max_pauses, config.advance_rate, config.together)
    return Adaptive(start, clamp_steps, config.max_pauses, config.history_window, config.convergence)


def _steps_within(clamp: int, grid: Tensor) -> int:
    """How many grid steps apart two atoms may be, wherever they are on `grid`, for their levels to differ by ≤ `clamp`.

    Raises:
        ConfigError: not even one, because a step of the grid is longer.
    """
    apart = [k for k in range(1, min(clamp, len(grid) - 1) + 1) if int((grid[k:] - grid[:-k]).max()) <= clamp]
    if not apart:
        raise ConfigError(
            f"sampler.steps is so small that one step spans {int(grid.diff().max())} levels, more than "
            f"sampler.interval={clamp}; use more steps, another sampler.grid or sampler.policy=synchronous."
        )
    return apart[-1]


def _check_training(clamp: int, trained: int) -> None:
    if not trained:
        raise ConfigError(
            "the checkpoint was trained with equal levels of all atoms (diffusion.interval=0); "
            "use sampler.policy=synchronous."
        )
    if clamp > 2 * trained:
        raise ConfigError(
            f"sampler.interval={clamp} exceeds twice the training interval ({trained}); "
            "such spreads of levels never occurred in training."
        )
