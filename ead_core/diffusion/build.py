"""From the sampler section of a recipe to a process, checked against the training of the checkpoint."""

from torch import Tensor

from ead_core.config import SamplerConfig
from ead_core.diffusion.policy import Adaptive, Manual, Policy, Synchronous
from ead_core.diffusion.sampler import Process, sampling_grid
from ead_core.errors import ConfigError
from ead_core.training.checkpoint import Checkpoint


def build_process(checkpoint: Checkpoint, config: SamplerConfig, largest: int) -> Process:
    """Everything a run needs, checked against the training of the checkpoint.

    Raises:
        ConfigError: settings that do not fit each other or the checkpoint.
    """
    levels, trained = checkpoint.config.diffusion.steps, checkpoint.config.diffusion.interval
    steps = config.steps or levels
    if steps > levels:
        raise ConfigError(f"sampler.steps must be at most the {levels} levels of training, not {steps}.")
    clamp = trained if config.interval is None else config.interval
    grid = sampling_grid(levels, steps).to(next(checkpoint.denoiser.parameters()).device)
    if config.policy != "synchronous":
        _check_asynchrony(clamp, trained, int(grid.diff().max()))
    return Process(
        denoiser=checkpoint.denoiser,
        schedule=checkpoint.schedule,
        grid=grid,
        policy=build_policy(config, grid, clamp, largest),
        pause_mode="hold" if config.policy == "manual" else config.pause_mode,
        decision=config.decision,
        solver=config.solver,
    )


def build_policy(config: SamplerConfig, grid: Tensor, clamp: int, largest: int) -> Policy:
    """The policy of a sampler section on a grid; `clamp` is in levels, `largest` the biggest molecule.

    Raises:
        ConfigError: a manual pyramid wider than the clamp.
    """
    rungs, levels = len(grid) - 1, int(grid[-1])
    clamp_rungs = max(1, clamp * rungs // levels)
    if config.policy == "synchronous":
        return Synchronous()
    if config.policy == "manual":
        spread = config.lag * ((largest - 1) // config.group_size)
        if spread > clamp_rungs:
            raise ConfigError(
                f"sampler.lag={config.lag} with sampler.group_size={config.group_size} spreads "
                f"the {largest} atoms over {spread} steps of the grid; "
                f"at most {clamp_rungs} are allowed (sampler.interval)."
            )
        return Manual(rungs, config.group_size, config.lag)
    start = round(config.async_ratio * levels)
    return Adaptive(int((grid <= start).sum()) - 1, config.history_window, clamp_rungs, config.max_pauses)


def _check_asynchrony(clamp: int, trained: int, stride: int) -> None:
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
    if stride > clamp:
        raise ConfigError(
            f"sampler.steps is so small that one step spans {stride} levels, "
            f"more than sampler.interval={clamp}; use more steps or sampler.policy=synchronous."
        )
