"""The sections of a recipe: which keys there are, what they mean, and what they may be."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """Base of every section: immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    """Which molecules to learn from. A relative `path` is looked up in $EAD_DATA, then in the working folder."""

    path: str
    split: Literal["auto", "published", "seeded"] = "auto"
    split_seed: int = Field(0, ge=0)


class NetworkConfig(Section):
    """`egnn` is EDM's network, `egnn_rbf` a better conditioned variant, `egnn_vector` one that passes vectors.

    The variants use `edge_features` and `vectors`. With `messages=causal` an atom hears only those that are no noisier
    than itself [ASSUMPTION: what the paper's "causal EGNN" means; the default is EDM's].
    """

    kind: Literal["egnn", "egnn_rbf", "egnn_vector"] = "egnn_rbf"
    hidden_features: int = Field(128, ge=1, le=4096)
    layers: int = Field(6, ge=1, le=64)
    edge_features: int = Field(64, ge=1, le=4096)
    vectors: int = Field(8, ge=1, le=256)
    messages: Literal["full", "causal"] = "full"


class DiffusionConfig(Section):
    """The forward process: T `steps`, and how far atoms' levels spread in training (EAD Algorithm 1).

    `interval` is C [ASSUMPTION: 29, the largest QM9 molecule]; 0 trains plain EDM. `gauge` is explained in
    diffusion/gauge.py, `schedule` in diffusion/schedule.py; `parametrisation` says what the network's output means: the
    noise ε, the clean molecule x or v = α ε − σ x (diffusion/parametrisation.py). With `size_mode=dummy` every molecule
    has as many slots as the largest one of the data; what is no atom is a dummy, and the model decides by itself.
    `dummy_rule` is explained in diffusion/corruption.py.
    """

    steps: int = Field(1000, ge=1, le=100_000)
    precision: float = Field(1e-5, gt=0, lt=0.5)
    interval: int = Field(29, ge=0)
    offset_mode: Literal["uniform", "scaled"] = "uniform"
    gauge: Literal["z", "y"] = "z"
    schedule: Literal["polynomial_2"] = "polynomial_2"
    parametrisation: Literal["epsilon", "x0", "v"] = "epsilon"
    size_mode: Literal["histogram", "dummy"] = "histogram"
    dummy_rule: Literal["half", "upper", "top", "late"] = "half"

    @model_validator(mode="after")
    def _interval_fits(self) -> "DiffusionConfig":
        if self.interval > self.steps:
            raise ValueError(f"interval ({self.interval}) must not exceed steps ({self.steps})")
        return self


class TrainingConfig(Section):
    """The optimisation. `steps` counts optimiser steps; `max_seconds` ends a sitting early, resumable.

    `objective` is `denoise` for a generator; `predict` trains a judge, which tells the properties of `conditioning`
    from finished molecules (ead_core/judge). The learning rate warms up, stays, and falls to zero over the last
    `decay_fraction` of `steps`. `initial` names a checkpoint whose weights a new run starts from. `batch_size` counts
    the molecules of all workers together. Levels are drawn as T u^level_power: above 1, low ones more often; a share
    `level_focus` of them is drawn around 0.28 T, where elements are decided (docs/results/re-entry.md). In a share
    `fragments` of the batches a connected part of every molecule is held clean, so that the model learns to complete
    it. `precision` is explained in precision.py. `other_data` lets a run go on with other molecules than it began with.
    """

    objective: Literal["denoise", "predict"] = "denoise"
    initial: str | None = None
    steps: int = Field(20_000, ge=1)
    max_seconds: float | None = Field(None, gt=0)
    batch_size: int = Field(64, ge=1)
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    muon_learning_rate: float = Field(0.012, gt=0)
    warmup_steps: int = Field(200, ge=0)
    decay_fraction: float = Field(0.2, ge=0, le=1)
    weight_decay: float = Field(1e-12, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    level_power: float = Field(1.0, ge=0.2, le=5)
    level_focus: float = Field(0.0, ge=0, le=1)
    fragments: float = Field(0.0, ge=0, le=1)
    ema_decay: float = Field(0.9995, ge=0, lt=1)
    seed: int = Field(0, ge=0)
    checkpoint_seconds: float = Field(300, gt=0)
    evaluate_every: int = Field(5000, ge=1)
    evaluate_molecules: int = Field(64, ge=0)
    precision: Literal["auto", "fp32", "bf16", "fp64"] = "auto"
    threads: int | None = Field(None, ge=1)
    other_data: bool = False


class ConditioningConfig(Section):
    """Which `properties` the model learns to be asked for; none is plain generation (docs/method.md).

    A property is a number per molecule in the data set, or `atoms_X`, the number of atoms of element X, which is always
    known. In training all of them are hidden from a molecule with probability `drop_all`, else each with `drop_each`,
    so that any of them may be left open when sampling. `half` says of which half of the molecules the run sees measured
    properties (data/labels.py); the other half is for whoever judges how well they are met.
    """

    properties: tuple[str, ...] = ()
    drop_all: float = Field(0.1, ge=0, le=1)
    drop_each: float = Field(0.1, ge=0, le=1)
    half: Literal["all", "first", "second"] = "all"

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


Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class SamplerConfig(Section):
    """Who is denoised when (EAD Algorithm 2).

    `async_ratio` is the share of the levels, from the clean end, that is denoised asynchronously (1 − λ of the
    paper); `interval` the largest spread of levels within a molecule (default: the training interval);
    `solver` makes the moves: `ancestral` draws from the posterior, `ddim` follows the deterministic flow;
    `dpmpp_2m_sde` and `dpmpp_2m` are their forms of second order. `grid` says how `steps` < T are spread over the
    levels: evenly, or denser near the clean end.
    An atom advances while its `velocity` (velocity.py) passes the `convergence` test (convergence.py).
    `decision` says whether a velocity with the noise of the very move under decision counts (`own_noise`, the paper's
    literal reading) or only earlier ones (`previous`). The policy `random` is a control: atoms, or `together` whole
    molecules, advance with probability `advance_rate`, one for all steps or a list from step 1 upwards. `batch_size`
    molecules run at once, in network calls that hold at most `memory_budget` GiB beyond the model, and are computed in
    `precision` (precision.py). `guidance` is ω of classifier-free guidance: how much further than the conditional
    prediction a molecule with targets goes, away from the unconditional one, while an atom's level is within
    `guidance_levels`, shares of T.
    """

    policy: Literal["synchronous", "manual", "adaptive", "random"] = "adaptive"
    solver: Literal["ancestral", "ddim", "dpmpp_2m", "dpmpp_2m_sde"] = "ancestral"
    async_ratio: float = Field(0.2, ge=0, le=1)
    history_window: int = Field(2, ge=1, le=10)
    pause_mode: Literal["repeat", "renoise", "hold"] = "repeat"
    velocity: Literal["z", "mean", "x0"] = "z"
    convergence: Literal["strict", "mean", "slope", "ema"] = "strict"
    decision: Literal["own_noise", "previous"] = "own_noise"
    interval: int | None = Field(None, ge=1, le=100_000)
    max_pauses: int = Field(10, ge=1, le=10_000)
    group_size: int = Field(5, ge=1, le=10_000)
    lag: int = Field(1, ge=0, le=10_000)
    advance_rate: tuple[Rate, ...] = Field((0.7,), min_length=1)
    together: bool = False
    steps: int | None = Field(None, ge=1, le=100_000)
    grid: Literal["even", "quadratic"] = "even"
    guidance: float = Field(0.0, ge=0, le=20)
    guidance_levels: tuple[Share, Share] = (0.0, 1.0)
    batch_size: int = Field(64, ge=1)
    memory_budget: float = Field(2.0, gt=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    @field_validator("guidance_levels")
    @classmethod
    def _from_low_to_high(cls, levels: tuple[float, float]) -> tuple[float, float]:
        if levels[0] >= levels[1]:
            raise ValueError(f"must be a lower and a higher share of T, not {levels[0]:g} and {levels[1]:g}")
        return levels

    @field_validator("advance_rate", mode="before")
    @classmethod
    def _one_or_many(cls, rates: object) -> object:
        return tuple(rates) if isinstance(rates, list | tuple) else (rates,)
