"""What a `training.objective` demands of the other sections of a recipe."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ead_core.config import Config


def _of_predict(config: "Config") -> Iterator[str]:
    if not config.conditioning.properties:
        yield "training.objective=predict needs conditioning.properties, which are to be predicted"
    if config.training.initial is not None or config.diffusion.size_mode == "dummy":
        yield "training.objective=predict takes neither training.initial nor dummies"


def _of_direct(config: "Config") -> Iterator[str]:
    if not config.network.self_conditioning:
        yield "training.objective=direct needs network.self_conditioning=true"
    if config.diffusion.parametrisation == "epsilon":
        yield (
            "training.objective=direct needs another diffusion.parametrisation than epsilon, whose errors in the clean "
            "molecule have no bound; take preconditioned"
        )


def _of_distil(config: "Config") -> Iterator[str]:
    if config.training.initial is None:
        yield "training.objective=distil needs training.initial, which is the teacher"


# A sentence for each demand that is not met; an objective that is not listed has none.
DEMANDS: Mapping[str, Callable[["Config"], Iterator[str]]] = {
    "predict": _of_predict,
    "direct": _of_direct,
    "distil": _of_distil,
}
