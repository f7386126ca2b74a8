"""What `stats.json` of a checkpoint holds: the statistics of its training data, as a document."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_serializer, field_validator, model_validator

from ead_core.common.documents import Document
from ead_core.data.labels import PropertyStatistics
from ead_core.data.size_moments import SizeMoments


class StatisticsDocument(Document):
    """The statistics of training data, as they are stored (see `Statistics`).

    The first checkpoints do not say of which version theirs is, and do not know of properties and moments. In the file,
    properties are a list, whose order is that of the network's context.
    """

    kind: ClassVar[str] = "the statistics of training data"

    version: Literal[1] = Field(1, alias="schema_version")
    atom_numbers: tuple[int, ...]
    sizes: dict[int, int]
    num_molecules: int
    name: str
    sha256: str
    properties: dict[str, PropertyStatistics] = Field({})
    moments: dict[int, SizeMoments] = Field({})

    @field_validator("atom_numbers")
    @classmethod
    def _ascending(cls, numbers: tuple[int, ...]) -> tuple[int, ...]:
        if not numbers or list(numbers) != sorted(set(numbers)) or numbers[0] < 1:
            raise ValueError("must be distinct, ascending and positive")
        return numbers

    @field_validator("sizes")
    @classmethod
    def _counted(cls, sizes: dict[int, int]) -> dict[int, int]:
        if not sizes or min(sizes) < 1 or min(sizes.values()) < 1:
            raise ValueError("must be positive counts of positive sizes")
        return sizes

    @field_validator("moments")
    @classmethod
    def _of_molecules(cls, moments: dict[int, SizeMoments]) -> dict[int, SizeMoments]:
        if not all(of.possible for of in moments.values()):
            raise ValueError("must be of at least one atom, with a variance that is not negative")
        return moments

    @field_validator("properties", mode="before")
    @classmethod
    def _by_name(cls, stored: Any) -> Any:
        if not isinstance(stored, list):
            return stored
        if not all(isinstance(entry, dict) and "name" in entry for entry in stored):
            raise ValueError("must each have a name")
        return {str(entry["name"]): entry for entry in stored}

    @field_validator("properties")
    @classmethod
    def _learnable(cls, properties: dict[str, PropertyStatistics]) -> dict[str, PropertyStatistics]:
        if not all(seen.learnable for seen in properties.values()):
            raise ValueError("must have finite statistics, of labels that differ")
        return properties

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = sum(self.sizes.values())
        if total != self.num_molecules:
            raise ValueError(f"sizes add up to {total} molecules, but num_molecules is {self.num_molecules}")
        if any(
            size not in self.sizes or len(of.elements) != len(self.atom_numbers) for size, of in self.moments.items()
        ):
            raise ValueError("moments must be of its sizes, and of all of its elements")
        return self

    @field_serializer("properties")
    def _listed(self, properties: dict[str, PropertyStatistics]) -> list[dict[str, Any]]:
        return [{"name": name, **vars(seen)} for name, seen in properties.items()]
