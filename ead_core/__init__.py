"""Equivariant Asynchronous Diffusion for 3D molecules: a noise level per atom, and a schedule that adapts.

from ead_core import load_checkpoint, sample, evaluate

molecules = sample(load_checkpoint("qm9-deep"), num=16, seed=0)
print(evaluate(molecules).table())
"""

import importlib
from typing import TYPE_CHECKING, Any

from ead_core.moved import find_moved_modules

__version__ = "0.1.0"
RENAMED = {  # names that have others now
    "Plan": "EvaluationPlan",
    "PublishedCard": "Card",
    "published_card": "evaluate with plan=EvaluationPlan(('published',))",
    "compare_published": "evaluation.compare.differences",
}

find_moved_modules()

if TYPE_CHECKING:
    from ead_core.api import *  # noqa: F403
    from ead_core.api import __all__ as __all__


def __getattr__(name: str) -> Any:
    """What api.py offers, loaded when it is first asked for: processes that only measure molecules never load torch."""
    if name.startswith("_") and name != "__all__":
        raise AttributeError(f"module 'ead_core' has no attribute '{name}'")
    if name in RENAMED:
        raise AttributeError(f"ead_core.{name} is now ead_core.{RENAMED[name]}")
    return getattr(importlib.import_module("ead_core.api"), name)


def __dir__() -> list[str]:
    return [*importlib.import_module("ead_core.api").__all__, "__version__"]
