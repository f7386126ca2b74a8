"""The sampler section of a recipe, said on its fields as in sections.py."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ead_core.config.conditions import only_with, unless
from ead_core.config.sections import Section

SPREADING = only_with("sampler.policy", "manual", "adaptive", "random")
PAUSING = only_with("sampler.policy", "adaptive", "random")
ADAPTIVE = only_with("sampler.policy", "adaptive")
MANUAL = only_with("sampler.policy", "manual")
RANDOM = only_with("sampler.policy", "random")
COOLED = unless("sampler.temperature", 1)
CORRECTED = unless("sampler.corrector", 0)
RESTARTING = unless("sampler.parity_restarts", 0)
EXACT = only_with("sampler.composition", "exact")
PULLED = unless("sampler.formula_guidance", 0)
REPAIRS = 2  # of a refused molecule, where nobody says how many (docs/results/repair.md)
REPAIRING = unless("sampler.repair_attempts", 0)
NOISY = only_with("sampler.solver", "ancestral", "dpmpp_2m_sde", "rtk_renoise")
FRAMES = only_with("network.symmetrise", "haar", "learned")
BRANCHED = unless("sampler.branches", 1)

Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[float, Field(gt=0, lt=1)]
MOST_PRUNINGS = 20
PAIRS = tuple(f"{part}_levels" for part in ("guidance", "property", "temperature", "corrector", "parity", "formula"))


class SamplerConfig(Section):
    """How molecules are generated, and which atoms are denoised when (EAD Algorithm 2)."""

    policy: Literal["synchronous", "manual", "adaptive", "random"] = "adaptive"
    """Which atoms advance in a step: all of them (`synchronous`, plain EDM); groups one after another (`manual`); those
    that have settled (`adaptive`, EAD); or some by chance (`random`, a control)."""
    solver: Literal["ancestral", "ddim", "dpmpp_2m", "dpmpp_2m_sde", "direct", "rtk_mean", "rtk_renoise"] = "ancestral"
    """How a step is made: drawn from the posterior (`ancestral`), without noise (`ddim`), or by their second-order
    forms for few steps (`dpmpp_2m_sde` with noise, `dpmpp_2m` without). Maps of the reverse transition kernel
    (arXiv 2601.08963): the first noise is kept and the predicted molecule improved in each step (`direct`, DDDM), taken
    a step along its straight line (`rtk_mean`, `ddim` with estimates), or noised afresh (`rtk_renoise`)."""
    async_ratio: Annotated[float, PAUSING] = Field(0.2, ge=0, le=1)
    """Share of the noise levels, from the clean end, in which atoms may pause (1 − λ of the paper); above it all atoms
    advance together."""
    history_window: Annotated[int, ADAPTIVE] = Field(2, ge=1, le=10)
    """How many of an atom's last velocities are tested to decide whether it has settled."""
    pause_mode: Annotated[Literal["repeat", "renoise", "hold"], PAUSING] = "repeat"
    """What happens to an atom that pauses: it is denoised again at its level (`repeat`, the paper), denoised and then
    noised back to its level exactly (`renoise`), or left as it is (`hold`)."""
    velocity: Annotated[Literal["z", "mean", "x0"], ADAPTIVE] = "z"
    """What is called the velocity of an atom: the length of its step (`z`, the paper), of the step without its noise
    (`mean`), or of the change of the predicted clean atom (`x0`)."""
    convergence: Annotated[Literal["strict", "mean", "slope", "ema"], ADAPTIVE] = "strict"
    """When an atom has settled: no velocity of the window exceeds the one before (`strict`, the paper), or the last is
    at most the mean of the window (`mean`), their trend does not rise (`slope`), or the last is at most the exponential
    average of those before (`ema`)."""
    decision: Annotated[Literal["own_noise", "previous"], ADAPTIVE, only_with("sampler.velocity", "z")] = "own_noise"
    """Whether the velocity of the very step that is decided on counts, noise included (`own_noise`, the paper), or only
    those of earlier steps (`previous`)."""
    interval: Annotated[int | None, SPREADING] = Field(None, ge=1, le=100_000)
    """Largest difference between the levels of two atoms of a molecule, in levels of training whatever `sampler.steps`
    is, and at most twice that of training; null is that of training, `diffusion.interval`."""
    max_pauses: Annotated[int, PAUSING] = Field(10, ge=1, le=10_000)
    """Pauses in a row after which an atom advances anyway."""
    group_size: Annotated[int, MANUAL] = Field(5, ge=1, le=10_000)
    """Atoms per group."""
    lag: Annotated[int, MANUAL] = Field(1, ge=0, le=10_000)
    """Steps by which each group follows the one before."""
    advance_rate: Annotated[tuple[Rate, ...], RANDOM] = Field((0.7,), min_length=1)
    """Probability that an atom advances: a number for all steps, or a list from the last step upwards, whose final
    entry also serves all steps above."""
    together: Annotated[bool, RANDOM] = False
    """Whether all atoms of a molecule pause together."""
    steps: int | None = Field(None, ge=1, le=100_000)
    """Steps from noise to molecule, at most `diffusion.steps`; null takes every level of training."""
    grid: Annotated[Literal["even", "quadratic"], unless("sampler.steps", None), unless("sampler.solver", "direct")] = (
        "even"
    )
    """How fewer steps are spread over the levels of training: evenly (`even`), or denser near the clean end
    (`quadratic`)."""
    guidance: float = Field(0.0, ge=0, le=20)
    """With targets, how far a molecule is pushed beyond what is predicted with them, away from what is predicted
    without (ω of classifier-free guidance); above 0 it takes a second network call."""
    guidance_levels: Annotated[tuple[Share, Share], unless("sampler.guidance", 0)] = (0.0, 1.0)
    """The lower and the higher share of the noise levels between which guidance is at work."""
    property_guidance: float = Field(0.0, ge=0, le=20)
    """How strongly molecules are pulled to their targets, by the gradient of what a predictor finds in them; each
    gradient counts as four network calls. 0 only tells the model its targets."""
    property_levels: Annotated[tuple[Share, Share], unless("sampler.property_guidance", 0)] = (0.1, 0.4)
    """The lower and the higher share of the noise levels between which molecules are pulled to their targets."""
    temperature: float = Field(1.0, ge=0.01, le=1)
    """Temperature of sampling; below 1, the predicted noise is scaled up so that molecules are more alike, to this
    factor in the variance of what is narrower than `sampler.temperature_width` (temporal score rescaling, 1 / k of
    arXiv 2510.01184). Where the steps of the grid are long, the scale is limited to what they bear."""
    temperature_width: Annotated[float, COOLED] = Field(0.2, gt=0, le=10)
    """Width, in the scaled state (Å for coordinates, a quarter for a change of element), of what the temperature acts
    on (σ of arXiv 2510.01184); more of it also changes which molecules are made."""
    temperature_levels: Annotated[tuple[Share, Share], COOLED] = (0.0, 1.0)
    """The lower and the higher share of the noise levels between which the temperature is at work."""
    start: float = Field(1.0, ge=0.05, le=1)
    """Share of the noise levels at which molecules begin; below 1, they begin as a Gaussian with the moments of noised
    training molecules of their size, and the steps are spread over the levels from there down."""
    corrector: float = Field(0.0, ge=0, le=20)
    """Rounds of the corrector at each step of the grid, on average; in a round, all atoms go one step down and back up,
    which mends errors of earlier steps and takes a network call. With 0.5 there is one at every second step."""
    corrector_mode: Annotated[Literal["renoise", "repeat"], CORRECTED] = "renoise"
    """How a round brings atoms back up: with fresh noise (`renoise`), or in name only (`repeat`), which cools."""
    corrector_levels: Annotated[tuple[Share, Share], CORRECTED] = (0.0, 0.2)
    """The lower and the higher share of the noise levels between which there are rounds of the corrector."""
    corrector_channels: Annotated[Literal["all", "coordinates", "types"], CORRECTED] = "all"
    """What a round changes: coordinates and types (`all`), or one of them (`coordinates`, `types`)."""
    parity_restarts: int = Field(0, ge=0, le=100)
    """How often at most a molecule goes back up shortly before its end because the elements that it is about to get
    leave an electron without a partner; for models of neutral molecules without radicals."""
    parity_levels: Annotated[tuple[Share, Share], RESTARTING] = (0.03, 0.3)
    """The share of the noise levels at which the elements are looked at, and the higher one to which molecules go
    back; restarts for a formula are at the same levels."""
    composition: Literal["exact", "told"] = "exact"
    """What happens with a formula, a number of atoms of every element: each molecule has it (`exact`), whatever model
    makes it, or it is only told to a model that was trained with such numbers (`told`)."""
    formula_guidance: Annotated[float, EXACT] = Field(3.0, ge=0, le=20)
    """How strongly molecules are pulled to a formula, by the gradient of the probability that they will have it; each
    gradient counts as two network calls. 0 leaves it to restarts."""
    formula_levels: Annotated[tuple[Share, Share], EXACT, PULLED] = (0.1, 0.4)
    """The lower and the higher share of the noise levels between which molecules are pulled to a formula."""
    formula_restarts: Annotated[int, EXACT] = Field(5, ge=0, le=100)
    """How often at most a molecule goes back up shortly before its end because it is about to miss its formula; after
    that, the atoms whose elements are least sure are given others."""
    repair_attempts: int | None = Field(None, ge=0, le=100)
    """How often a molecule that is refused is noised again and denoised before it is given up; 0 gives it up at
    once, null after two repairs, or at once with `sampler.branches` or `sampler.property_guidance`, whose work a repair
    would undo. Without criteria of acceptance nothing is refused."""
    repair_level: Annotated[float, REPAIRING] = Field(0.3, gt=0, le=1)
    """Share of the noise levels up to which a molecule is noised when it is repaired."""
    repair_extent: Annotated[Literal["whole", "local"], REPAIRING] = "whole"
    """What is noised in a repair: all atoms (`whole`), or the defective ones and those near them, while all others are
    kept exactly (`local`, for models trained with `training.fragments`)."""
    repair_hops: Annotated[int, REPAIRING, only_with("sampler.repair_extent", "local")] = Field(2, ge=0, le=10_000)
    """Atoms within so many bonds of a defective one are noised with it."""
    branches: Annotated[int, NOISY] = Field(1, ge=1, le=1000)
    """With targets, into how many branches each molecule is split on its way; they end early where the predicted
    molecule is far from its targets, and the best that is finished is kept. 1 splits nothing."""
    branch_level: Annotated[float, BRANCHED] = Field(0.35, gt=0, lt=1)
    """Share of the noise levels at which molecules are split into branches, which have the steps above in common."""
    pruning_levels: Annotated[tuple[Level, ...], BRANCHED] = Field((0.16, 0.09), max_length=MOST_PRUNINGS)
    """Shares of the noise levels, from high to low, at which branches end: those whose predicted molecule is farthest
    from its targets. Those that are not below `sampler.branch_level` do not count."""
    pruning_kept: Annotated[tuple[Rate, ...], BRANCHED] = Field((0.5,), min_length=1, max_length=MOST_PRUNINGS)
    """Share of a molecule's branches that go on at each of `sampler.pruning_levels`, rounded up; a number for all, or a
    list, whose last entry also serves all further levels."""
    frames: Annotated[Literal["run", "call"], FRAMES] = "run"
    """How often the frame in which the network sees a molecule is drawn: once for a molecule (`run`), so that what is
    predicted changes with the molecule alone, or in every network call, as in SymDiff (`call`)."""
    batch_size: int = Field(64, ge=1)
    """Molecules that are computed at once, and branches of them; when one is finished, the next takes its place."""
    memory_budget: float = Field(2.0, gt=0)
    """GiB that a network call may hold in addition to the model; larger molecules get smaller batches."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the network's matrix products; `auto` is `bf16` on GPUs made for it, else `fp32`."""

    @property
    def predicts(self) -> bool:
        """Whether a predictor has a part in how molecules with targets are made."""
        return self.branches > 1 or self.property_guidance > 0

    @property
    def repairs(self) -> int:
        """How often a refused molecule is repaired."""
        if self.repair_attempts is not None:
            return self.repair_attempts
        return 0 if self.predicts else REPAIRS

    @field_validator(*PAIRS)
    @classmethod
    def _from_low_to_high(cls, levels: tuple[float, float]) -> tuple[float, float]:
        if levels[0] >= levels[1]:
            raise ValueError(f"must be a lower and a higher share of T, not {levels[0]:g} and {levels[1]:g}")
        return levels

    @field_validator("pruning_levels")
    @classmethod
    def _from_high_to_low(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if list(levels) != sorted(set(levels), reverse=True):
            raise ValueError(f"must be shares of T from high to low, not {', '.join(f'{level:g}' for level in levels)}")
        return levels

    @field_validator("advance_rate", "pruning_levels", "pruning_kept", mode="before")
    @classmethod
    def _one_or_many(cls, rates: object) -> object:
        return tuple(rates) if isinstance(rates, list | tuple) else (rates,)
