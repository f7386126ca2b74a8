"""`ead moments`: what `sampler.start` must know of the training molecules, for checkpoints that lack it."""

from pathlib import Path
from typing import Annotated

import typer


def moments(
    checkpoint: Annotated[str, typer.Argument(help="Name or folder.")],
    data: Annotated[Path | None, typer.Option(help="Its training molecules, if not where its recipe says.")] = None,
) -> None:
    """Add the moments of its training molecules to a checkpoint; sampler.start needs them."""
    from ead_core.training.moments import add_moments

    typer.echo(f"{add_moments(checkpoint, data)} has the moments of its training molecules.", err=True)
