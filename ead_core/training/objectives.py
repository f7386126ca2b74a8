"""The table of objectives: what `training.objective` may be."""

from pathlib import Path

from ead_core.config import Config
from ead_core.data.dataset import Statistics
from ead_core.training.denoising import Denoising
from ead_core.training.direct import Direct
from ead_core.training.distilling import Distilling
from ead_core.training.objective import Evaluate, Objective
from ead_core.training.predicting import Predicting
from ead_core.training.session import Session

OBJECTIVES: dict[str, type[Objective]] = {
    "denoise": Denoising,
    "predict": Predicting,
    "direct": Direct,
    "distil": Distilling,
}


def build_objective(config: Config, statistics: Statistics) -> Objective:
    """What a recipe trains for, on data with these statistics."""
    return OBJECTIVES[config.training.objective](config, statistics)


def evaluation(config: Config, session: Session, directory: Path | None) -> Evaluate | None:
    """What `fit` calls now and then to measure the averaged network; None if nothing does.

    Args:
        config: the recipe.
        session: the parts of its data.
        directory: of the checkpoint; None to write nothing.

    Raises:
        DataError: the data do not suffice for it.
    """
    return build_objective(config, session.statistics).evaluation(session, directory)
