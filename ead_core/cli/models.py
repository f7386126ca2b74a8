"""`ead models`: the checkpoints, their measured quality, and the properties they can be asked for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ead_core.data.dataset import Statistics


def models(
    checkpoints: Annotated[list[str] | None, typer.Argument(help="Names or folders; bundled ones if none.")] = None,
) -> None:
    """List checkpoints with their measured quality, the properties they can be asked for, and judges."""
    from ead_core.checkpoints.checkpoint import bundled, load_checkpoint, load_network
    from ead_core.networks.predictor import Predictor

    for name in checkpoints or bundled():
        directory, _, _, network = load_network(name)
        typer.echo(name)
        if isinstance(network, Predictor):
            _list_errors(name)
        else:
            _list_properties(load_checkpoint(name).statistics)
            _list_quality(directory)


def _list_properties(statistics: "Statistics") -> None:
    from ead_core.data.properties import shown

    for name, seen in statistics.properties.items():
        reach = shown(name, seen.smallest, seen.largest)
        typer.echo(f"  --target {name:<19} training range {reach} ({seen.labels:,} molecules)")


def _list_quality(directory: Path) -> None:
    from ead_core.evaluation.quality import load_quality

    quality = load_quality(directory)
    for row in quality.rows if quality else ():
        typer.echo(f"  {row.sentence()}")


def _list_errors(name: str) -> None:
    from ead_core.data.properties import unit_of
    from ead_core.prediction.judge import load_judge

    for of, errors in load_judge(name).calibration.items():
        typer.echo(
            f"  judges {of:<21} mean error {errors.bound:.3g} {unit_of(of).symbol}, 95 % intervals ± "
            f"{errors.half_width:.3g} ({errors.tested:,} held-out molecules)"
        )
