"""Bodies of answers, as they stand in the OpenAPI document."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from ead_core.sampling.ledger import Ledger
from serve.fields import MOST_PROBLEMS, AtomRange


class Molecule(BaseModel):
    """One generated molecule."""

    id: int = Field(description="0 to num − 1; seed and id name a molecule.")
    smiles: str | None = Field(
        description="Canonical SMILES of the whole molecule, with stereochemistry, without explicit hydrogens; null if "
        "its bonds cannot be perceived from its geometry."
    )
    elements: list[str] = Field(description="Element symbols of the N atoms.")
    positions: list[list[float]] = Field(description="N rows of x, y, z in Å.")
    sdf: str = Field(
        description="The molecule as a record of an SDF, with perceived bonds and charges; its field "
        "`warning` says what is wrong with it."
    )
    nfe: int = Field(description="Network calls the molecule took.")
    targets: dict[str, float | None] = Field(
        description="The values that were asked for; with `match` both ends, as `…_low` and `…_high`, of a property of "
        "which some row names a range."
    )
    predicted: dict[str, float | None] = Field(
        description="What the selector says of the properties asked for; empty unless `match` or `in_range` needs it."
    )
    wish: int | None = Field(None, description="With `match`: the row of `targets` that it is for, from 1.")
    distance: float | None = Field(
        None,
        description="With `match`: by how much what is predicted misses what the row asks for, in spreads of the "
        "property, as a mean over those asked for.",
    )
    warning: str | None = Field(description="Which of them lie outside of training; null if none does.")


class Unmet(BaseModel):
    """A row of `targets` that got no molecule."""

    wish: int = Field(description="Which row, from 1.")
    reason: str


class Molecules(BaseModel):
    """Generated molecules in the order of their ids, with `match` in that of the rows of `targets`."""

    molecules: list[Molecule]
    model: str = Field(description="Name of the checkpoint.")
    diverged: list[int] = Field(
        description="Ids of molecules that are left out because the network has diverged: they have no positions."
    )
    ledger: Ledger | None = Field(None, description="What became of all attempts; null without `accept` or `match`.")
    unmet: list[Unmet] | None = Field(None, description="With `match`: the rows that got no molecule, and why.")
    passport: dict[str, Any] | None = Field(
        None, description="How the molecules were made; with it, `ead reproduce` makes any of them again."
    )


class Limits(BaseModel):
    """What the service accepts."""

    max_molecules: int = Field(description="Most molecules in one request.")
    max_network_calls: int = Field(description="Most network calls that the settings may let a molecule take.")
    max_request_calls: int = Field(description="Most network calls that all molecules of a request may take.")
    max_seconds: float = Field(description="Seconds after which a request that is not finished is given up.")
    batch_molecules: int = Field(description="Most molecules of all requests that run at once.")
    max_waiting: int = Field(description="Requests that wait for a replica before further ones get 503.")
    max_job_molecules: int = Field(description="Most molecules of a job.")
    max_job_calls: int = Field(description="Most network calls that all molecules of a job may take.")
    max_jobs_waiting: int = Field(description="Jobs that nobody has begun before further ones get 503.")


class Conditionable(BaseModel):
    """A property that molecules can be asked for."""

    name: str
    unit: str = Field(
        description="Of targets; empty if it is that of the training data, which the model does not know."
    )
    smallest: float = Field(description="What occurred in training.")
    largest: float
    histogram: list[int] = Field(
        [], description="Training molecules in equal steps from `smallest` to `largest`; empty if nobody knows."
    )


class Lineage(BaseModel):
    """Where a model comes from."""

    version: str | None = Field(description="Its version in the registry, as models:/NAME/NUMBER; null outside of it.")
    fingerprint: str = Field(description="Equal for checkpoints that generate the same molecules.")
    data: str = Field(description="Name of the training data.")
    data_sha256: str
    training_molecules: int
    initial: str | None = Field(description="The checkpoint that training began with, or its teacher; null if none.")
    objective: str = Field(description="What it was trained for, as `training.objective`.")


class ModelDescription(BaseModel):
    """The model behind the service."""

    name: str
    elements: list[str] = Field(description="Elements it can place.")
    parameters: int = Field(description="Number of weights.")
    sizes: AtomRange = Field(description="What occurred in training.")
    properties: list[Conditionable] = Field(description="What `targets` may ask for; empty if nothing.")
    sampler: dict[str, Any] = Field(description="Sampler settings of a request that gives none.")
    presets: dict[str, dict[str, Any]] = Field(description="Sampler settings of each `preset`.")
    lineage: Lineage
    limits: Limits
    card: list[dict[str, Any]] = Field(
        description="Measured quality and cost per sampler setting; empty if the checkpoint was never evaluated."
    )


class ModelEntry(BaseModel):
    """A model of the service."""

    name: str
    role: Literal["generator", "predictor"] = Field(
        description="Whether it makes molecules (`POST /v1/molecules`, `/v1/jobs`) or predicts their properties "
        "(`POST /v1/predict`)."
    )
    elements: list[str]
    properties: list[str] = Field(description="What molecules can be asked for, or what is predicted.")


class ModelList(BaseModel):
    """The models of the service, first the one that makes molecules, of which `GET /v1/model` tells more."""

    models: list[ModelEntry]


class Health(BaseModel):
    """State of the service."""

    status: Literal["live", "ready"]


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str


class Mistake(BaseModel):
    """What is wrong at one place of a body."""

    type: str = Field(description="A word for programs.")
    loc: list[str | int] = Field(description="The place, from `body` inwards.")
    msg: str = Field(description="A sentence that says what is accepted.")


class Mistakes(BaseModel):
    """Why a body is not accepted."""

    detail: list[Mistake] = Field(max_length=MOST_PROBLEMS)
