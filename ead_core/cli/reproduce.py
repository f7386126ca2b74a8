"""`ead reproduce`: one molecule made again from what its file says."""

from pathlib import Path
from typing import Annotated

import typer

DIFFERENT = 1  # exit code


def reproduce(
    file: Annotated[Path, typer.Argument(help="Of `ead sample`, a shard.parquet, or an answer of the service.")],
    number: Annotated[int, typer.Option("--id", min=0, help="Which molecule: its property `id`.")],
    checkpoint: Annotated[
        str | None, typer.Option(help="The model, if it is not bundled: directory or address.")
    ] = None,
    selector: Annotated[
        str | None, typer.Option(help="Who chose among branches or predicted for property_guidance, if not bundled.")
    ] = None,
) -> None:
    """Make one molecule of a file again, alone, and compare: exit code 0 if it is the same, 1 if it is not."""
    from ead_core.common.cpu import tune_cpu
    from ead_core.prediction.judge import load_judge
    from ead_core.sampling.passport_files import stored_molecule
    from ead_core.sampling.reproduction import model_of, reproduce

    stored = stored_molecule(file, number)
    passport = stored.passport
    tune_cpu(1)
    model = model_of(passport, checkpoint)
    same, told, made = reproduce(model, stored, load_judge(selector) if selector else None)
    device = next(model.denoiser.parameters()).device.type
    other = "" if device == passport.device else f"; the file is of {passport.device}, which rounds otherwise"
    typer.echo(f"{'same' if same else 'different'}: molecule {number} of {file}, {made.formula}; {told}")
    calls = made.properties["nfe"]
    typer.echo(f"made again by {model.name} with seed {passport.seed} in {calls} network calls on {device}{other}")
    if not same:
        raise typer.Exit(DIFFERENT)
