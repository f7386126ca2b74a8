"""The program `ead`: its commands, and how it ends when something is wrong."""

import io
import sys
from typing import Annotated

import typer

from ead_core import __version__
from ead_core.cli.adapt import adapt
from ead_core.cli.compare import compare, relax
from ead_core.cli.config import config
from ead_core.cli.data import data_app
from ead_core.cli.draw import draw
from ead_core.cli.evaluate import evaluate
from ead_core.cli.measure import measure
from ead_core.cli.models import models
from ead_core.cli.moments import moments
from ead_core.cli.predict import predict
from ead_core.cli.repair import repair
from ead_core.cli.reproduce import reproduce
from ead_core.cli.sample import SAMPLER_KEYS, sample
from ead_core.cli.trace import trace
from ead_core.cli.train import train
from ead_core.errors import report_user_errors

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ead {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Equivariant Asynchronous Diffusion: train and sample generative models of 3D molecules."""


app.add_typer(data_app, name="data")
app.command()(train)
app.command()(adapt)
app.command(epilog=SAMPLER_KEYS)(sample)
app.command(epilog=SAMPLER_KEYS)(repair)
app.command()(reproduce)
app.command()(trace)
app.command()(evaluate)
app.command()(compare)
app.command()(relax)
app.command()(predict)
app.command()(draw)
app.command()(measure)
app.command()(models)
app.command()(moments)
app.command()(config)


def main() -> None:
    """Run the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be text
    with report_user_errors("ead"):
        app()
