"""The measured quality of a checkpoint: `quality.json` in its folder, with a row per sampler setting."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ead_core.common.documents import Document, read_json
from ead_core.common.intervals import Interval
from ead_core.errors import EADError
from ead_core.evaluation.difference import Difference

QUALITY = "quality.json"
EARLIER = "card.json"  # its name before evaluation cards were called so


class MeasuredSetting(BaseModel):
    """Quality and cost of molecules that were made with one setting of the sampler.

    Shares lie in [0, 1] and are those of the published protocol (`protocols.published`).

    Attributes:
        setting: for people.
        overrides: keys of the sampler, where they are not the checkpoint's own.
        num_molecules: attempts.
        num_skipped: attempts that could not be read.
        novelty: None if the training set was not at hand.
        intervals: 95 % interval of each share that is known.
        nfe_per_molecule: network calls.
        seconds_per_molecule: on the machine that the document names.
        molecule_stability_difference: to the first setting, with the same noise; also of validity.
        pairs: molecules that these differences pair; 0 where they took both settings as independent. The first
            documents do not have it, and pair all molecules.
        asked: property that was asked for, or "all".
        guidance: guidance scale ω.
        conditional: errors of the properties that were asked for.
    """

    model_config = ConfigDict(frozen=True)

    setting: str
    overrides: dict[str, Any] = Field({})
    num_molecules: int
    num_skipped: int = 0
    atom_stability: float
    molecule_stability: float
    validity: float
    uniqueness: float
    validity_x_uniqueness: float
    novelty: float | None = None
    intervals: dict[str, Interval]
    nfe_per_molecule: float | None = None
    seconds_per_molecule: float | None = None
    molecule_stability_difference: float | None = None
    molecule_stability_difference_low: float | None = None
    molecule_stability_difference_high: float | None = None
    molecule_stability_p_value: float | None = None
    validity_difference: float | None = None
    validity_difference_low: float | None = None
    validity_difference_high: float | None = None
    validity_p_value: float | None = None
    pairs: int | None = None
    asked: str | None = None
    guidance: float | None = None
    conditional: dict[str, Any] | None = None

    @field_validator("intervals")
    @classmethod
    def _has_stability(cls, intervals: dict[str, Interval]) -> dict[str, Interval]:
        if "molecule_stability" not in intervals:
            raise ValueError("molecule_stability needs an interval")
        return intervals

    def to_json(self) -> dict[str, Any]:
        """What was measured, as plain values."""
        return self.model_dump(mode="json", exclude_unset=True)

    def differences(self) -> dict[str, Difference]:
        """What differs from the first setting, by the name of the share."""
        pairs = self.num_molecules if self.pairs is None else self.pairs
        found = {}
        for name in ("molecule_stability", "validity"):
            keys = (f"{name}_difference", f"{name}_difference_low", f"{name}_difference_high", f"{name}_p_value")
            difference, low, high, p_value = (getattr(self, key) for key in keys)
            if None not in (difference, low, high, p_value):
                found[name] = Difference(difference, (low, high), p_value, pairs)
        return found

    def sentence(self) -> str:
        """One sentence: stability with its interval, and cost."""
        low, high = (100 * end for end in self.intervals["molecule_stability"])
        text = f"{self.setting:<28} molecule stability {100 * self.molecule_stability:.1f} % ({low:.1f}–{high:.1f})"
        return text if self.nfe_per_molecule is None else f"{text}, {self.nfe_per_molecule:.0f} network calls"


class Quality(Document):
    """What was measured of a checkpoint.

    Attributes:
        checkpoint: its name.
        protocol: what the shares mean.
        seed: of all molecules.
        seconds_are: what the seconds were measured on.
        command: that made the document.
        rows: a setting each; the first is the one that others are compared with.
        one_property: further rows, of molecules that were asked for one property only.
    """

    kind: ClassVar[str] = "the measured quality of a checkpoint"

    version: Literal[1] = Field(1, alias="schema_version")
    checkpoint: str
    protocol: str
    seed: int
    seconds_are: str | None = None
    command: str | None = None
    rows: list[MeasuredSetting] = Field(min_length=1)
    one_property: list[MeasuredSetting] = Field([])


def load_quality(folder: Path) -> Quality | None:
    """The measured quality of a checkpoint; None if it has never been measured.

    Args:
        folder: of the checkpoint. Before there was `quality.json`, the document was called `card.json`; it is still
            read, while evaluation cards of that name are passed over.

    Raises:
        DataError: the document is damaged or of another version.
    """
    if (folder / QUALITY).is_file():
        return Quality.load(folder / QUALITY)
    try:
        stored = read_json(folder / EARLIER)
    except (OSError, ValueError, EADError):
        return None
    return Quality.parse(stored, str(folder / EARLIER)) if has_rows(stored) else None


def has_rows(stored: object) -> bool:
    """Whether a JSON value is, or once was, the measured quality of a checkpoint rather than an evaluation card."""
    return isinstance(stored, Mapping) and isinstance(stored.get("rows"), Sequence)
