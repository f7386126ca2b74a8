"""The sections of a recipe. What a key means, what it may be and when it has an effect is said here, on its field.

`ead config`, the configuration reference, the OpenAPI document and the error messages are made of it.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ead_core.config.conditions import only_with, unless

GENERATOR = only_with("training.objective", "denoise", "direct")
DIRECT = only_with("training.objective", "direct")
CONDITIONAL = unless("conditioning.properties", ())
TOLD = only_with("network.self_conditioning", True)
MUON = only_with("training.optimizer", "muon")
PAIRWISE = only_with("network.kind", "egnn_rbf", "egnn_vector", "dit")
VECTORS = only_with("network.kind", "egnn_rbf", "egnn_vector")
TRANSFORMER = only_with("network.kind", "dit")
FRAMED = only_with("network.symmetrise", "learned")
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


class Section(BaseModel):
    """Base of every section: immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DataConfig(Section):
    """Which molecules to learn from."""

    path: str
    """File of the molecules; a relative path is looked up in $EAD_DATA, then in the working folder."""
    split: Literal["auto", "published", "seeded"] = "auto"
    """How molecules are divided into training, validation and test: the split of the literature (`published`), which
    needs the full QM9; 80/10/10 by chance (`seeded`); or whichever of the two fits the file (`auto`)."""
    split_seed: int = Field(0, ge=0)
    """Seed of the `seeded` split, and of the halves of `conditioning.half`."""


class NetworkConfig(Section):
    """The network that predicts noise, or properties."""

    kind: Literal["egnn", "egnn_rbf", "egnn_vector", "dit"] = "egnn_rbf"
    """The architecture: EDM's EGNN (`egnn`), a better conditioned variant with radial basis functions (`egnn_rbf`), one
    that passes vectors between atoms (`egnn_vector`), or a transformer, which knows nothing of rotations (`dit`)."""
    hidden_features: int = Field(128, ge=1, le=4096)
    """Features per atom in the hidden layers."""
    layers: int = Field(6, ge=1, le=64)
    """Message passing layers, or blocks of the transformer."""
    edge_features: Annotated[int, PAIRWISE] = Field(64, ge=1, le=4096)
    """Features per pair of atoms; of `dit`, Gaussians of a distance."""
    vectors: Annotated[int, VECTORS] = Field(8, ge=1, le=256)
    """Vectors per atom."""
    heads: Annotated[int, TRANSFORMER] = Field(4, ge=1, le=256)
    """Heads of attention, a divisor of `network.hidden_features`."""
    modulation: Annotated[Literal["shared", "block"], TRANSFORMER] = "shared"
    """What tells the blocks of the transformer the time of an atom: one layer for all of them (`shared`), or a layer of
    each, as in SymDiff (`block`), which takes 1.6 times the parameters."""
    messages: Literal["full", "causal"] = "full"
    """Which atoms an atom receives messages from: all (`full`, as EDM), or those that are no noisier than itself
    (`causal`). [ASSUMPTION: what the paper's "causal EGNN" means]"""
    self_conditioning: Annotated[bool, GENERATOR] = False
    """Whether the network is given what it has predicted of the clean molecule before, in training in half of the steps
    (arXiv 2208.04202); not with `egnn`."""
    symmetrise: Literal["none", "haar", "learned"] = "none"
    """In which frame the network sees a molecule: as it is (`none`), randomly turned and reflected (`haar`), or in a
    random frame that a second network chooses, as in SymDiff (`learned`)."""
    compose: Annotated[Literal["corrected", "released"], FRAMED] = "corrected"
    """How the chosen frame is made of a random one: so that turned molecules are equally likely (`corrected`), or as in
    SymDiff's code, where they are not (`released`)."""
    frame_features: Annotated[int, FRAMED] = Field(96, ge=2, le=4096)
    """Features per atom in the network that chooses the frame."""
    frame_layers: Annotated[int, FRAMED] = Field(4, ge=1, le=64)
    """Blocks of the network that chooses the frame."""
    frame_heads: Annotated[int, FRAMED] = Field(4, ge=1, le=256)
    """Heads of attention of the network that chooses the frame, a divisor of `network.frame_features`."""

    @model_validator(mode="after")
    def _networks_fit(self) -> "NetworkConfig":
        if self.kind == "dit" and self.hidden_features % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide hidden_features ({self.hidden_features})")
        if self.kind == "dit" and self.hidden_features < 2:
            raise ValueError("hidden_features must be at least 2 with kind=dit")
        if self.symmetrise == "learned" and self.frame_features % self.frame_heads:
            raise ValueError(f"frame_heads ({self.frame_heads}) must divide frame_features ({self.frame_features})")
        if self.symmetrise == "learned" and self.messages == "causal":
            raise ValueError("messages=causal does not go with symmetrise=learned, whose frame depends on all atoms")
        return self


class DiffusionConfig(Section):
    """The forward process: how molecules are noised in training (EAD Algorithm 1)."""

    steps: int = Field(1000, ge=1, le=100_000)
    """Noise levels T."""
    precision: float = Field(1e-5, gt=0, lt=0.5)
    """Offset of the noise schedule that keeps α² away from 0 and 1 at its ends, as in EDM."""
    interval: int = Field(29, ge=0)
    """How far the level of an atom may be from that of its molecule in training (C of the paper); 0 gives all atoms
    the same level, as EDM. [ASSUMPTION: 29, the size of the largest QM9 molecule]"""
    offset_mode: Annotated[Literal["uniform", "scaled"], unless("diffusion.interval", 0)] = "uniform"
    """How far atoms are from the level of their molecule: anywhere within `diffusion.interval` (`uniform`), or within a
    spread that is drawn per molecule first (`scaled`), so that nearly equal levels are seen often."""
    gauge: Literal["z", "y"] = "z"
    """What is centred at the origin: the noised coordinates z (`z`, as EDM's code), or y = z / α (`y`), which is exact
    however far the levels of atoms differ."""
    schedule: Literal["polynomial_2"] = "polynomial_2"
    """How the signal falls with the level: α = 1 − (t / T)², as EDM's `polynomial_2`."""
    parametrisation: Literal["epsilon", "x0", "v", "preconditioned"] = "epsilon"
    """What the network's output means: the noise (`epsilon`), the clean molecule (`x0`), v = α ε − σ x (`v`), or F in
    x = (z − σ F) / max(α, 0.2), which is the noise except where that says little of the molecule (`preconditioned`)."""
    size_mode: Literal["histogram", "dummy"] = "histogram"
    """Who decides how many atoms a molecule has: the histogram of the training data or the request (`histogram`), or
    the model, which has as many slots as the largest molecule of the data and may leave some empty (`dummy`)."""
    dummy_rule: Annotated[Literal["half", "upper", "top", "late"], only_with("diffusion.size_mode", "dummy")] = "half"
    """How far above their molecule half of the empty slots are noised in training, so that they are decided late:
    0 to C (`half`), C/2 to C (`upper`), exactly C (`top`), or up to T (`late`), with C = `diffusion.interval`."""

    @model_validator(mode="after")
    def _interval_fits(self) -> "DiffusionConfig":
        if self.interval > self.steps:
            raise ValueError(f"interval ({self.interval}) must not exceed steps ({self.steps})")
        return self


class TrainingConfig(Section):
    """How the network is optimised."""

    objective: Literal["denoise", "predict", "direct"] = "denoise"
    """What is trained: a generator of molecules that learns their noise (`denoise`) or the clean molecules themselves,
    with its own estimates to start from (`direct`, DDDM), or a judge that predicts the properties of `conditioning`
    from finished molecules (`predict`)."""
    initial: str | None = None
    """Checkpoint whose weights a new run starts from; null starts from random weights."""
    steps: int = Field(20_000, ge=1)
    """Optimiser steps of the whole training."""
    max_seconds: float | None = Field(None, gt=0)
    """Seconds after which to stop early, to be continued later; null trains to the last step."""
    batch_size: int = Field(64, ge=1)
    """Molecules per optimiser step, of all workers together."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """What updates the weights: AdamW (`adamw`), or Muon for the matrices inside the network and AdamW for the rest
    (`muon`)."""
    learning_rate: float = Field(1e-3, gt=0)
    """Learning rate of AdamW."""
    muon_learning_rate: Annotated[float, MUON] = Field(0.012, gt=0)
    """Learning rate of Muon."""
    warmup_steps: int = Field(200, ge=0)
    """Steps over which the learning rates rise from 0."""
    decay_fraction: float = Field(0.2, ge=0, le=1)
    """Share of `training.steps`, at the end, over which the learning rates fall to 0."""
    weight_decay: float = Field(1e-12, ge=0)
    """Weight decay of both optimisers."""
    clip_norm: float = Field(1.0, gt=0)
    """Largest norm of the gradient; a longer one is scaled down."""
    level_power: Annotated[float, GENERATOR] = Field(1.0, ge=0.2, le=5)
    """Noise levels are drawn as T u^level_power with a uniform u; above 1, low levels are drawn more often."""
    level_focus: Annotated[float, GENERATOR] = Field(0.0, ge=0, le=1)
    """Share of the noise levels that are drawn around 0.28 T, where elements are decided."""
    fragments: Annotated[float, GENERATOR] = Field(0.0, ge=0, le=1)
    """Share of the batches in which a connected part of every molecule is kept free of noise, so that the model learns
    to complete fragments."""
    xbar: Annotated[Literal["selfcond", "buffer"], TOLD] = "selfcond"
    """Where the earlier prediction of a self-conditioned network comes from in training: made by a call before in half
    of the steps (`selfcond`), or kept of every molecule from the epoch before (`buffer`, DDDM), in one process."""
    huber_width: Annotated[float, DIRECT] = Field(0.03, gt=0, le=10)
    """Distance in Å (in the scaled state for types) up to which errors of the clean molecule count by their square, and
    above which by themselves (c of the pseudo-Huber distance)."""
    ema_decay: float = Field(0.9995, ge=0, lt=1)
    """Decay per step of the exponential moving average of the weights, which is what is used after training."""
    seed: int = Field(0, ge=0)
    """Seed of the first weights, the order of the molecules and all noise."""
    checkpoint_seconds: float = Field(300, gt=0)
    """Seconds between checkpoints."""
    evaluate_every: int = Field(5000, ge=1)
    """Steps between quality checks; there is always one at the end."""
    evaluate_molecules: Annotated[int, GENERATOR] = Field(64, ge=0)
    """Molecules that a quality check generates; 0 leaves it out."""
    precision: Literal["auto", "fp32", "bf16", "fp64"] = "auto"
    """Number format of the network's matrix products; `auto` is `bf16` on GPUs made for it, else `fp32`. With `fp64`
    the weights have it, too."""
    threads: int | None = Field(None, ge=1)
    """CPU threads. `ead train` starts a process for each, which share every batch; null means one per core, each with
    at least 16 molecules. On a GPU, and in a worker of Ray Train, they are torch's own; there null leaves the choice to
    torch or means the worker's CPUs."""
    other_data: bool = False
    """Allow a run to be continued with other molecules than it began with."""


class ConditioningConfig(Section):
    """Which properties the model learns to be asked for."""

    properties: tuple[str, ...] = ()
    """Properties that molecules can be asked for, or that a judge predicts: columns of the data with a number per
    molecule, or `atoms_X`, the number of atoms of element X. A single name needs no list; none is plain generation."""
    drop_all: Annotated[float, GENERATOR, CONDITIONAL] = Field(0.1, ge=0, le=1)
    """Probability in training that all properties of a molecule are hidden; `sampler.guidance` needs some of it."""
    drop_each: Annotated[float, GENERATOR, CONDITIONAL] = Field(0.1, ge=0, le=1)
    """Probability in training that a property is hidden, so that any of them may be left open in a request."""
    drop_others: Annotated[float, GENERATOR, CONDITIONAL] = Field(0.0, ge=0, le=1)
    """Probability in training that one measured property is all that is left of a molecule's, so that any may be asked
    for alone."""
    drop_measured: Annotated[float, GENERATOR, CONDITIONAL] = Field(0.0, ge=0, le=1)
    """Probability in training that all measured properties are hidden, so that a composition may be asked for alone."""
    predictor: Annotated[str | None, GENERATOR, CONDITIONAL] = None
    """Trained predictor (name or folder) that learnt from the same half: in training its predictions stand in for
    measured properties that are not known. null leaves these hidden."""
    half: Annotated[Literal["all", "first", "second"], CONDITIONAL] = "all"
    """The part of the molecules whose measured properties the run sees: `all`, or the `first` or the `second` of two
    fixed halves, so that a generator and its judge learn from different molecules."""

    @field_validator("properties", mode="before")
    @classmethod
    def _one_or_many(cls, names: object) -> object:
        return (names,) if isinstance(names, str) else names

    @field_validator("properties")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        repeated = [name for name in names if names.count(name) > 1]
        if repeated:
            raise ValueError(f"must be distinct, but {repeated[0]} occurs {names.count(repeated[0])} times")
        if "num_atoms" in names:
            raise ValueError("must not hold num_atoms, which the network sees anyway")
        return names

    @model_validator(mode="after")
    def _exclusive(self) -> "ConditioningConfig":
        if self.drop_others + self.drop_measured > 1:
            raise ValueError("drop_others and drop_measured are of different molecules, so their sum is at most 1")
        return self


Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[float, Field(gt=0, lt=1)]
MOST_PRUNINGS = 20


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
    """Largest difference between the levels of two atoms of a molecule, at most twice that of training; null is that of
    training, `diffusion.interval`."""
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
    once, null after two repairs, or at once with `sampler.branches`, whose choice a repair would undo. Without
    criteria of acceptance nothing is refused."""
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
    def repairs(self) -> int:
        """How often a refused molecule is repaired."""
        if self.repair_attempts is not None:
            return self.repair_attempts
        return REPAIRS if self.branches == 1 else 0

    @field_validator("guidance_levels", "temperature_levels", "corrector_levels", "parity_levels", "formula_levels")
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
