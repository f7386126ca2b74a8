"""`ead models`: the checkpoints, their measured quality, and the properties they can be asked for."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

import typer

from ead_core.config import sampler_settings
from ead_core.config.conditions import as_yaml
from ead_core.config.presets import NAMES

if TYPE_CHECKING:
    from ead_core.checkpoints.checkpoint import Checkpoint
    from ead_core.data.dataset import Statistics
    from ead_core.prediction.calibration import Errors


def models(
    checkpoints: Annotated[list[str] | None, typer.Argument(help="Names or folders; bundled ones if none.")] = None,
) -> None:
    """List checkpoints with their measured quality, their presets, the properties they can be asked for, and judges."""
    from ead_core.checkpoints.checkpoint import bundled, load_checkpoint, load_network
    from ead_core.evaluation.quality import load_quality
    from ead_core.networks.predictor import Predictor

    for name in checkpoints or bundled():
        directory, _, _, network = load_network(name)
        typer.echo(name)
        if isinstance(network, Predictor):
            _list_errors(name)
        else:
            checkpoint, quality = load_checkpoint(name), load_quality(directory)
            _list_properties(checkpoint.statistics)
            rows = quality.rows if quality else []
            for row in rows:
                typer.echo(f"  {row.sentence()}")
            _list_presets(checkpoint, {row.setting for row in rows})


def _list_properties(statistics: "Statistics") -> None:
    from ead_core.data.properties import shown

    for name, seen in statistics.properties.items():
        reach = shown(name, seen.smallest, seen.largest)
        typer.echo(f"  --target {name:<19} training range {reach} ({seen.labels:,} molecules)")


def _list_presets(checkpoint: "Checkpoint", measured: Collection[str]) -> None:
    """The settings of the presets whose quality is not among the measured."""
    from ead_core.sampling.presets import preset_settings, titled

    for name in NAMES:
        if titled(name) not in measured:
            settings = sampler_settings(preset_settings(checkpoint, name))
            typer.echo(f"  {titled(name):<28} {' '.join(f'{key}={as_yaml(value)}' for key, value in settings.items())}")


def _list_errors(name: str) -> None:
    from ead_core.data.properties import unit_of
    from ead_core.prediction.judge import load_judge

    for of, errors in load_judge(name).calibration.items():
        typer.echo(
            f"  judges {of:<21} mean error {errors.bound:.3g} {unit_of(of).symbol}, 95 % intervals ± "
            f"{errors.half_width:.3g} ({errors.tested:,} held-out molecules){_widened(errors)}"
        )


def _widened(errors: "Errors") -> str:
    return f", ± {errors.widened:.3g} on generated ones" if errors.generated else ""
