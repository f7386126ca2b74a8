"""The sections of a recipe. What a key means, what it may be and when it has an effect is said here, on its field.

`ead config`, the configuration reference, the OpenAPI document and the error messages are made of it.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ead_core.config.conditions import only_with, unless

GENERATOR = only_with("training.objective", "denoise", "direct", "distil")
NOISED = only_with("training.objective", "denoise", "direct")
DIRECT = only_with("training.objective", "direct")
DISTILLED = only_with("training.objective", "distil")
CONDITIONAL = unless("conditioning.properties", ())
TOLD = only_with("network.self_conditioning", True)
MUON = only_with("training.optimizer", "muon")
PAIRWISE = only_with("network.kind", "egnn_rbf", "egnn_vector", "dit")
VECTORS = only_with("network.kind", "egnn_rbf", "egnn_vector")
TRANSFORMER = only_with("network.kind", "dit")
FRAMED = only_with("network.symmetrise", "learned")


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

    objective: Literal["denoise", "predict", "direct", "distil"] = "denoise"
    """What is trained: a generator of molecules that learns their noise (`denoise`) or the clean molecules themselves,
    with its own estimates to start from (`direct`, DDDM), or that learns to make in the few steps of `sampler` what
    `training.initial` makes in many (`distil`), or a judge that predicts the properties of `conditioning` from finished
    molecules (`predict`)."""
    initial: str | None = None
    """Checkpoint whose weights a new run starts from; null starts from random weights. `distil`
    has it for its teacher. Elements that it does not know are added, those that the data lack are left out; sizes are
    those of the data."""
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
    anchor: Annotated[float, DISTILLED] = Field(0.1, ge=0, le=100)
    """Weight of the loss of `denoise` on training molecules, which keeps a distilled model from forgetting some."""
    critic_updates: Annotated[int, DISTILLED] = Field(2, ge=1, le=100)
    """How often the critic of a distillation, which follows what the model makes, is updated in each step."""
    critic_rate: Annotated[float, DISTILLED] = Field(2.0, gt=0, le=1000)
    """Learning rates of the critic over those of the model at their peak; they neither rise nor fall."""
    teacher_temperature: Annotated[float, DISTILLED] = Field(1.0, ge=0.01, le=1)
    """Temperature of the law that a distilled model learns; below 1, that of the teacher is cooled, as much as
    `sampler.temperature` would cool it in as many steps as the model is to make."""
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
    patience: Annotated[int | None, NOISED] = Field(None, ge=1)
    """Quality checks without a lower loss on the validation molecules after which training ends; what is used then are
    the weights of the lowest. null trains to the last step, and uses its weights."""
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
