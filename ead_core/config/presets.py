"""Presets: settings of the sampler under three names, from few network calls to many.

A checkpoint keeps its own in `presets.json`, beside its weights; one without that file has `DEFAULTS`.
"""

import difflib
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field

from ead_core.common.documents import Document
from ead_core.errors import ConfigError

PRESETS = "presets.json"
PresetName = Literal["fast", "balanced", "best"]
NAMES: tuple[PresetName, ...] = get_args(PresetName)
CHOICES = f"{', '.join(NAMES[:-1])} or {NAMES[-1]}"


class Presets(Document):
    """Sampler keys by preset, such as `sampler.steps`; what a preset does not name stays the checkpoint's own."""

    kind: ClassVar[str] = "the presets of a checkpoint"

    version: Literal[1] = Field(1, alias="schema_version")
    fast: dict[str, Any]
    balanced: dict[str, Any]
    best: dict[str, Any]

    def named(self, name: str) -> dict[str, Any]:
        """The keys of a preset (ConfigError if there is none of that name)."""
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise ConfigError(f"the preset must be {CHOICES}, not '{name}'{hint}")
        settings: dict[str, Any] = getattr(self, name)
        return settings


def _few_calls(steps: int, temperature: float) -> dict[str, Any]:
    """Synchronous steps of second order from where noised molecules still are Gaussian, cooled."""
    return {
        "sampler.policy": "synchronous",
        "sampler.solver": "dpmpp_2m_sde",
        "sampler.grid": "quadratic",
        "sampler.steps": steps,
        "sampler.start": 0.55,
        "sampler.temperature": temperature,
    }


DEFAULTS = Presets(fast=_few_calls(25, 0.25), balanced=_few_calls(50, 0.25), best=_few_calls(100, 0.25))
