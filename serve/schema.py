"""The bodies that ask for molecules, as they stand in the OpenAPI document."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from ead_core.common.noise import MAX_SEED
from ead_core.config.presets import PresetName
from ead_core.data.target_tables import SIZE_COLUMN
from ead_core.sampling.order import LEAST_TRIES, PER_WISH, TRIES
from serve.fields import (
    CRITERIA_OFFERED,
    MOST_SIZES,
    Asked,
    AtomRange,
    Body,
    Criteria,
    Format,
    Integer,
    SamplerSettings,
)


class Wanted(Body):
    """Which molecules to generate, at once or as a job."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"num": 2, "seed": 0},
                {
                    "num": 3,
                    "seed": 7,
                    "sizes": [15, 18],
                    "sampler": {"sampler.policy": "adaptive", "sampler.async_ratio": 0.1},
                    "format": "sdf",
                },
                {"accept": "valid & unique", "until": 2},
                {"match": True, "targets": [{"gap": 6500.0}, {"gap": [4000.0, 5000.0]}], "preset": "fast"},
            ]
        },
    )

    num: int = Field(
        4,
        description="How many molecules (with `accept`: attempts), at most `limits.max_molecules` of `GET /v1/model`, "
        "in a job `limits.max_job_molecules`.",
        json_schema_extra={"minimum": 1},
    )
    seed: int = Field(
        0,
        ge=0,
        le=MAX_SEED,
        description="0 to 2⁶³ − 1. Equal seeds give the molecules that `ead sample --seed` gives, to rounding.",
    )
    sizes: Annotated[list[Integer], Field(max_length=MOST_SIZES)] | None = Field(
        None,
        description="Atoms per molecule, hydrogens included, cycled through if there are fewer than `num`; each within "
        "`sizes` of `GET /v1/model`. Left out, they are drawn from the training data's histogram.",
    )
    size_range: AtomRange | None = Field(
        None, description="Instead of `sizes`: draw them from the part of the histogram within this range."
    )
    targets: Asked | None = Field(
        None,
        description="What the molecules shall have: a value, or [low, high] from which one is drawn as training has "
        "them, by property of `properties` of `GET /v1/model` and in its unit. What is left out is open. A number of "
        "atoms for every element (`atoms_C` and so on) is a formula, which all molecules have; every model with sizes "
        f"of the caller's takes one. With `match` a list of such, a row per wish, each with `{SIZE_COLUMN}` if its "
        "molecule is to have so many atoms; null is open too.",
    )
    accept: Criteria | None = Field(
        None,
        description="What a delivered molecule must be: criteria joined by `&`, or a list of them. A molecule is "
        "refused for the first that it does not meet, and `ledger` counts all. There are "
        + "; ".join(f"`{name}{criterion.takes}`: {criterion.meaning}" for name, criterion in CRITERIA_OFFERED.items())
        + ".",
        examples=["valid & unique", ["connected", "strain<50"]],
    )
    until: int | None = Field(
        None,
        ge=1,
        description="With `accept`, and instead of `num`: how many molecules are to be delivered, at most "
        "`limits.max_molecules` of `GET /v1/model`, in a job `limits.max_job_molecules`. Left out, what is accepted of "
        "`num` attempts is.",
    )
    max_attempts: int | None = Field(
        None,
        ge=1,
        description=f"With `until`: at most so many attempts, after which fewer molecules are delivered; {TRIES} per "
        f"molecule if it is left out, at least {LEAST_TRIES:,}, as far as `limits.max_request_calls` of "
        f"`GET /v1/model` allow, in a job `limits.max_job_calls`. With `match`: so many in all, {PER_WISH} per row, or "
        "twice the `pool`, if it is left out.",
    )
    match: bool = Field(
        False,
        description="Make molecules for all rows of `targets`, predict their properties, and give each row the one "
        "that serves the table best, each molecule once: as `ead sample --match` does. What may be given with it: "
        "`seed`, `sizes`, `accept` (`valid & unique` if it is left out), `pool`, `max_attempts`, `sampler`, `preset` "
        "and `timeout`; the answer is JSON.",
    )
    pool: int | None = Field(
        None,
        ge=1,
        description="With `match`: attempts before molecules and rows are matched for the first time, at most "
        "`max_attempts`; half of all if it is left out.",
    )
    sampler: SamplerSettings = Field(
        default_factory=SamplerSettings,
        description="Changes to the checkpoint's sampler settings, e.g. `sampler.async_ratio`.",
    )
    preset: PresetName | None = Field(
        None,
        description="Sampler settings under a name, from few network calls to many; what `sampler` gives comes before "
        "them. Left out, the checkpoint's own settings count.",
    )
    format: Format = Field(
        "json", description="`json` has everything; the others are text: an SDF, an XYZ, or SMILES lines."
    )


class MoleculesRequest(Wanted):
    """Which molecules to generate."""

    timeout: float | None = Field(
        None,
        ge=1,
        description="Seconds after which to give up with 504, from 1 to `limits.max_seconds` of `GET /v1/model`, which "
        "counts if it is left out.",
    )


class JobRequest(Wanted):
    """Which molecules a job is to generate: as of `POST /v1/molecules`, but more of them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"num": 1000, "seed": 0, "preset": "fast"},
                {"accept": "valid & unique", "until": 500, "preset": "balanced", "format": "sdf"},
                {"targets": {"gap": [6000.0, 7000.0]}, "until": 200},
            ]
        }
    )

    def as_sent(self) -> dict[str, Any]:
        """The body as JSON values, without what was left out."""
        # Without warnings: pydantic expects of each kind of targets that it was the other one.
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
