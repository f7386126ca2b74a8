"""From the sampler section of a recipe to a process, checked against the training of the checkpoint."""

import torch
from torch import Tensor

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.config import SamplerConfig
from ead_core.data.size_moments import state_moments
from ead_core.diffusion.corrector import CHANNELS, CORRECTIONS, Corrector
from ead_core.diffusion.formula import FormulaGuidance
from ead_core.diffusion.gauge import GAUGES
from ead_core.diffusion.gaussian_start import GaussianStart
from ead_core.diffusion.grid import resting_grid, sampling_grid
from ead_core.diffusion.pauses import PAUSES
from ead_core.diffusion.policies import POLICIES, Run
from ead_core.diffusion.policy import Policy
from ead_core.diffusion.posterior import SOLVERS
from ead_core.diffusion.process import Process
from ead_core.diffusion.property_guidance import PropertyGuidance
from ead_core.diffusion.pull import Pull
from ead_core.diffusion.restarts import Restarts
from ead_core.diffusion.temperature import ScoreRescaling
from ead_core.diffusion.velocity import VELOCITIES
from ead_core.errors import ConfigError
from ead_core.networks.memory import molecules_per_call
from ead_core.prediction.judge import Judge

CALLS_HELD = 2  # per layer, how many times the memory of a call is held until its gradient is known


def build_process(
    checkpoint: Checkpoint,
    config: SamplerConfig,
    largest: int,
    pinned: bool = False,
    policy: Policy | None = None,
    *,
    formula: bool = False,
    selector: Judge | None = None,
) -> Process:
    """Everything a run needs, checked against the training of the checkpoint.

    Args:
        checkpoint: the model.
        config: the settings.
        largest: atoms of the biggest molecule.
        pinned: whether molecules have held atoms.
        policy: takes the place of that of the settings; whoever brings one answers for the spread of levels.
        formula: whether molecules are to have a composition.
        selector: predicts the properties that molecules are pulled to; None pulls them to none.

    Raises:
        ConfigError: settings that do not fit each other or the checkpoint.
    """
    _check_guidance(checkpoint, config)
    _check_solver(checkpoint, config, policy)
    trained = checkpoint.config.diffusion.interval
    clamp = trained if config.interval is None else config.interval
    grid = _grid(checkpoint, config)
    policy = policy or _policy(config, Run(grid, clamp, largest, checkpoint.config.diffusion.steps), trained)
    return Process(
        denoiser=checkpoint.noise_predictor(config.precision),
        schedule=checkpoint.schedule,
        grid=grid.to(next(checkpoint.denoiser.parameters()).device),
        policy=policy,
        pause=PAUSES["hold" if policy.waits else config.pause_mode],
        own_noise=config.decision == "own_noise",
        solver=SOLVERS[config.solver],
        velocity=VELOCITIES[config.velocity],
        frame=GAUGES[checkpoint.config.diffusion.gauge],
        guidance=config.guidance,
        guidance_levels=config.guidance_levels,
        pinned=pinned,
        num_draws=checkpoint.denoiser.network.num_draws,
        self_conditioning=checkpoint.denoiser.self_conditioning,
        same_draws=config.frames == "run",
        start=_start(checkpoint, config, grid[-1], pinned),
        cooling=_cooling(config),
        corrector=_corrector(config),
        restarts=_restarts(checkpoint, config, formula),
        pulls=_pulls(checkpoint, config, largest, formula, selector),
    )


def _check_guidance(checkpoint: Checkpoint, config: SamplerConfig) -> None:
    """Refuse guidance of a model that was told nothing in training (ConfigError)."""
    for key in ("guidance", "property_guidance"):
        strength = getattr(config, key)
        if strength and not checkpoint.statistics.properties:
            raise ConfigError(
                f"sampler.{key}={strength:g} needs a model that was trained with properties "
                f"(conditioning.properties), which {checkpoint.name} was not; leave it at 0."
            )


def _grid(checkpoint: Checkpoint, config: SamplerConfig) -> Tensor:
    """Levels of the run, from 0 to where it starts (ConfigError: more steps than levels)."""
    trained, levels = checkpoint.config.diffusion.steps, top_level(checkpoint, config.start)
    steps = config.steps or levels
    if steps > levels:
        below = "of training" if levels == trained else f"up to sampler.start={config.start:g}"
        raise ConfigError(f"sampler.steps must be at most the {levels} levels {below}, not {steps}.")
    return resting_grid(levels, steps) if SOLVERS[config.solver].stays else sampling_grid(levels, steps, config.grid)


def top_level(checkpoint: Checkpoint, start: float) -> int:
    """The level at a share of T, at least 1."""
    return max(1, round(start * checkpoint.config.diffusion.steps))


def _check_solver(checkpoint: Checkpoint, config: SamplerConfig, policy: Policy | None) -> None:
    """Refuse a solver that does not fit the checkpoint, or with which other settings mean nothing (ConfigError)."""
    solver, diffusion = SOLVERS[config.solver], checkpoint.config.diffusion
    spreads = policy is not None or POLICIES[config.policy].spreads
    if solver.iterates and not checkpoint.denoiser.self_conditioning:
        raise ConfigError(
            f"sampler.solver={config.solver} needs a model that is given its own estimates "
            f"(network.self_conditioning), which {checkpoint.name} is not; take ddim or rtk_renoise."
        )
    if solver.forgets and spreads and diffusion.gauge == "y":
        raise ConfigError(
            f"sampler.solver={config.solver} draws all coordinates anew, so that with diffusion.gauge=y no atom can "
            "stay behind; use sampler.policy=synchronous."
        )
    if solver.forgets and config.temperature != 1:
        raise ConfigError(f"sampler.solver={config.solver} cools by itself; leave sampler.temperature at 1.")
    if not solver.stays:
        return
    if spreads:
        raise ConfigError(
            f"sampler.solver={config.solver} keeps all atoms at one level; use sampler.policy=synchronous."
        )
    for key, plain in (("temperature", 1), ("corrector", 0), ("parity_restarts", 0)):
        if getattr(config, key) != plain:
            raise ConfigError(
                f"sampler.{key} acts on the way down, which sampler.solver={config.solver} does not take; leave it at "
                f"{plain}."
            )


def _start(checkpoint: Checkpoint, config: SamplerConfig, level: Tensor, pinned: bool) -> GaussianStart | None:
    """The Gaussian at the level where a run below T starts (ConfigError: nothing is known of it)."""
    if config.start == 1:
        return None
    if pinned:
        raise ConfigError(
            f"sampler.start={config.start:g} is not for molecules around a fragment, whose place among the other atoms "
            "no Gaussian tells; leave it at 1."
        )
    statistics = checkpoint.statistics
    if not statistics.moments:
        raise ConfigError(
            f"sampler.start={config.start:g} needs the moments of the training molecules, which {checkpoint.name} "
            f"lacks; `ead moments {checkpoint.name}` adds them."
        )
    moments = state_moments(statistics.moments, statistics.sizes, checkpoint.atom_types)
    return GaussianStart.at(level, checkpoint.schedule, *moments)


def _cooling(config: SamplerConfig) -> ScoreRescaling | None:
    if config.temperature == 1:
        return None
    return ScoreRescaling(config.temperature, config.temperature_width, config.temperature_levels)


def _corrector(config: SamplerConfig) -> Corrector | None:
    if config.corrector == 0:
        return None
    correction, channels = CORRECTIONS[config.corrector_mode], CHANNELS[config.corrector_channels]
    return Corrector(config.corrector, correction, config.corrector_levels, channels)


def _restarts(checkpoint: Checkpoint, config: SamplerConfig, formula: bool) -> Restarts | None:
    for_formula = config.formula_restarts if formula else 0
    if config.parity_restarts == for_formula == 0:
        return None
    odd = torch.tensor(checkpoint.atom_types.numbers) % 2 == 1
    return Restarts(config.parity_restarts, config.parity_levels, odd, for_formula)


def _pulls(
    checkpoint: Checkpoint, config: SamplerConfig, largest: int, formula: bool, selector: Judge | None
) -> tuple[Pull, ...]:
    """Towards the compositions and properties that are asked for."""
    fit = molecules_per_call(checkpoint.denoiser, largest, config.memory_budget)
    pulls: list[Pull] = []
    if formula:
        at_once = max(1, fit // (CALLS_HELD * checkpoint.config.network.layers))
        pulls.append(FormulaGuidance(config.formula_guidance, config.formula_levels, at_once))
    if selector is not None:
        layers = checkpoint.config.network.layers + selector.config.network.layers
        at_once = max(1, fit // (CALLS_HELD * layers))
        kinds, strength = len(checkpoint.atom_types.numbers), config.property_guidance
        pulls.append(PropertyGuidance(strength, config.property_levels, at_once, selector.predictor, kinds))
    return tuple(pulls)


def _policy(config: SamplerConfig, run: Run, trained: int) -> Policy:
    """The policy of the sampler section (ConfigError if it does not fit grid, molecules or training)."""
    kind = POLICIES[config.policy]
    if kind.spreads:
        _check_training(run.clamp, trained)
    return kind.build(config, run)


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
