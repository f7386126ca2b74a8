"""What a preset means for a checkpoint and a request: its settings, as far as both can follow them."""

from typing import Any

from ead_core.checkpoints.checkpoint import Checkpoint
from ead_core.sampling.build import top_level


def preset_settings(checkpoint: Checkpoint, name: str, around_fragment: bool = False) -> dict[str, Any]:
    """The sampler keys of a preset, as far as they can be followed.

    Molecules begin at the top of the noise levels where nothing is known of those at `sampler.start`: around a
    fragment, and with a checkpoint without moments. No more steps are asked for than there are levels.

    Args:
        checkpoint: the model.
        name: a name of `presets.NAMES`.
        around_fragment: whether the molecules shall hold a fragment.

    Raises:
        ConfigError: an unknown preset.
    """
    settings = dict(checkpoint.presets.named(name))
    if around_fragment or not checkpoint.statistics.moments:
        settings["sampler.start"] = 1.0
    if steps := settings.get("sampler.steps"):
        start = settings.get("sampler.start", checkpoint.config.sampler.start)
        settings["sampler.steps"] = min(steps, top_level(checkpoint, start))
    return settings


def titled(name: str) -> str:
    """What a preset is called among the measured settings of a checkpoint."""
    return f"preset {name}"
