"""The passport of a file's molecules: what, beside a molecule's own row, is needed to make it again.

A molecule does not depend on its batch, nor on which others were made, chosen or refused. It depends on the model, the
seed and the settings, which all molecules of a file share and the passport names; and on what stands beside it in the
file: its `id`, its number of atoms, what was asked of it (`target_…`), and the round that mended it (`repaired`).
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, Field

from ead_core import __version__
from ead_core.common.documents import Document
from ead_core.config import SamplerConfig
from ead_core.sampling.fragments import Fragment
from ead_core.sampling.requests import Request

_SAMPLER = "sampler."


class KeptAtoms(BaseModel):
    """The fragment that every molecule keeps: atomic numbers [n], positions [n, 3] in Å, and its charge in e."""

    elements: list[int] = Field(min_length=1)
    positions: list[tuple[float, float, float]]
    net_charge: int = 0

    def fragment(self) -> Fragment:
        """It as the sampler takes it."""
        return Fragment(np.array(self.elements), np.array(self.positions, dtype=np.float64), self.net_charge)


class Passport(Document):
    """How the molecules of a file were made.

    Attributes:
        model, fingerprint: name of the checkpoint, and what tells it from others (`Checkpoint.fingerprint`).
        seed: of the noise.
        sampler: all settings.
        fragment: atoms that every molecule keeps.
        matched: whether molecules were matched with wishes, so that each was made for another than it met.
        device: what they were made on.
        program: version of ead.
    """

    kind: ClassVar[str] = "a passport"

    version: Literal[1]
    model: str
    fingerprint: str
    seed: int
    sampler: SamplerConfig
    fragment: KeptAtoms | None = None
    matched: bool = False
    device: Literal["cpu", "cuda"] = "cpu"
    program: str = ""

    @classmethod
    def of(
        cls, model: str, fingerprint: str, request: Request, device: str = "cpu", *, matched: bool = False
    ) -> "Passport":
        """The passport of a request's molecules; a policy of the caller's own is not known to it."""
        kept = request.fragment
        atoms = kept and {
            "elements": kept.charges.tolist(),
            "positions": kept.positions.tolist(),
            "net_charge": kept.net_charge,
        }
        told = {"version": 1, "program": __version__, "model": model, "fingerprint": fingerprint, "seed": request.seed}
        own = {"sampler": request.sampler.model_dump(), "fragment": atoms, "matched": matched, "device": device}
        return cls.model_validate({**told, **own})

    @classmethod
    def of_question(cls, question: Mapping[str, Any], name: str) -> "Passport":
        """The passport of a shard, from what was asked of its generation (DataError if that is not all there)."""
        sampler = {key.removeprefix(_SAMPLER): value for key, value in question.items() if key.startswith(_SAMPLER)}
        own = {"version": 1, "model": question.get("checkpoint"), "sampler": sampler, "matched": "match" in question}
        return cls.parse({**question, **own}, name)

    def to_text(self) -> str:
        """It on one line, as files carry it."""
        return json.dumps(self.to_json())
