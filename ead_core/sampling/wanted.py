"""Properties that molecules are pulled to, as a predictor tells them.

Legend: M molecules, P properties of the predictor.
"""

import numpy as np
import torch
from torch import Tensor

from ead_core.checkpoints.checkpoint import Checkpoint, vocabulary
from ead_core.config import SamplerConfig
from ead_core.data.properties import counted_element
from ead_core.errors import ConfigError
from ead_core.prediction.judge import Judge
from ead_core.sampling.draws import Values


def pulls_to(config: SamplerConfig, values: Values) -> bool:
    """Whether molecules asked for these values are pulled to any; numbers of atoms are met otherwise (formulas.py)."""
    return config.property_guidance > 0 and any(counted_element(name) is None for name in values)


def check_guide(selector: Judge, generator: Checkpoint) -> None:
    """Refuse a predictor that cannot look at unfinished molecules of a generator (ConfigError).

    Their atoms have probabilities of the generator's types instead of elements, which must be the predictor's types.
    """
    types = vocabulary(selector.config, selector.statistics)
    if types != generator.atom_types:
        raise ConfigError(
            f"{selector.name} knows {', '.join(types.symbols)} and {generator.name} "
            f"{', '.join(generator.atom_types.symbols)}; sampler.property_guidance needs a predictor of the same "
            "elements."
        )
    if selector.predictor.network.num_draws:
        raise ConfigError(
            f"{selector.name} looks at molecules in random frames (network.symmetrise), so that its gradient says "
            "little; sampler.property_guidance needs another predictor."
        )


def wanted_of(config: SamplerConfig, values: Values, selector: Judge | None) -> Tensor | None:
    """What molecules are pulled to: [M, P], in units of the predictor's spreads; None if nothing.

    Args:
        config: settings of the sampler.
        values: [M] by property, in border units, NaN where it is open.
        selector: predicts properties.
    """
    if selector is None or not pulls_to(config, values):
        return None
    length = len(next(iter(values.values())))
    columns = [
        (values[name] - seen.mean) / seen.mad if name in values else np.full(length, np.nan)
        for name, seen in selector.statistics.properties.items()
    ]
    return torch.from_numpy(np.stack(columns, axis=1)).float()
