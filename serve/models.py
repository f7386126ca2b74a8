"""What the service says of its models."""

from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np

from ead_core.checkpoints.checkpoint import find_checkpoint
from ead_core.chemistry.elements import element_symbol
from ead_core.config.presets import NAMES
from ead_core.data.joint_prior import JointPrior
from ead_core.data.properties import unit_of
from ead_core.evaluation.quality import load_quality
from ead_core.prediction.judge import load_judge
from ead_core.sampling.presets import preset_settings
from serve.answer_schema import Conditionable, Limits, Lineage, ModelDescription, ModelEntry, ModelList
from serve.fields import SamplerSettings
from serve.limits import Border
from serve.own_schema import Predictor

STEPS = 40  # of a histogram


def describe(border: Border) -> ModelDescription:
    """The model and what a request for it may ask.

    Settings that follow the training are shown with their value, those without effect are left out.
    """
    checkpoint, settings = border.checkpoint, border.settings
    config = checkpoint.config
    quality = load_quality(find_checkpoint(settings.checkpoint))
    own = {key: value for key, value in config.in_effect("sampler").items() if key in SamplerSettings.model_fields}
    followed = {"steps": config.diffusion.steps, "interval": config.diffusion.interval}
    return ModelDescription(
        name=checkpoint.name,
        elements=[element_symbol(number) for number in checkpoint.statistics.atom_numbers],
        parameters=sum(weights.numel() for weights in checkpoint.denoiser.parameters()),
        sizes=border.sizes,
        properties=[
            Conditionable(
                name=name,
                unit=unit_of(name).symbol,
                smallest=seen.smallest,
                largest=seen.largest,
                histogram=_histogram(checkpoint.prior, name, (seen.smallest, seen.largest)),
            )
            for name, seen in checkpoint.statistics.properties.items()
        ],
        sampler={f"sampler.{key}": followed.get(key) if value is None else value for key, value in own.items()},
        presets={preset: preset_settings(checkpoint, preset) for preset in NAMES},
        lineage=_lineage(border),
        limits=Limits(**settings.model_dump(include=set(Limits.model_fields))),
        card=[row.to_json() for row in quality.rows] if quality else [],
    )


def _histogram(prior: JointPrior | None, name: str, ends: tuple[float, float]) -> list[int]:
    """How often the training molecules that the model remembers have a property, step by step."""
    if prior is None or name not in prior.names:
        return []
    values = prior.values[:, prior.names.index(name)]
    counts: list[int] = np.histogram(values[np.isfinite(values)], STEPS, ends)[0].tolist()
    return counts


def _lineage(border: Border) -> Lineage:
    checkpoint, address = border.checkpoint, border.settings.checkpoint
    statistics, training = checkpoint.statistics, checkpoint.config.training
    return Lineage(
        version=address if border.settings.in_registry else None,
        fingerprint=checkpoint.fingerprint(),
        data=statistics.name,
        data_sha256=statistics.sha256,
        training_molecules=statistics.num_molecules,
        initial=training.initial and Path(training.initial).name,  # folders of others are not for clients
        objective=training.objective,
    )


def models(border: Border) -> ModelList:
    """The model that makes molecules, and those that predict properties of any."""
    checkpoint = border.checkpoint
    own = ModelEntry(
        name=checkpoint.name,
        role="generator",
        elements=_symbols(checkpoint.statistics.atom_numbers),
        properties=list(checkpoint.statistics.properties),
    )
    return ModelList(models=[own, *map(_predictor, get_args(Predictor))])


@cache
def _predictor(name: str) -> ModelEntry:
    statistics = load_judge(name).statistics
    return ModelEntry(
        name=name,
        role="predictor",
        elements=_symbols(statistics.atom_numbers),
        properties=list(statistics.properties),
    )


def _symbols(atom_numbers: tuple[int, ...]) -> list[str]:
    return [element_symbol(number) for number in atom_numbers]
