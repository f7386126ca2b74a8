"""Run a command of this repository on a Ray cluster: `python platform/jobs/submit.py -- python …`.

The code is shipped with the job, so the nodes need only its dependencies. Ends with 0 if the job succeeded, with 1 if
it failed or was stopped, and with 2 if it could not be submitted.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from ead_platform.cluster.submission import follow, submit

from ead_core.errors import report_user_errors

ROOT = Path(__file__).resolve().parents[2]

app = typer.Typer(pretty_exceptions_enable=False)


@app.command(context_settings={"allow_interspersed_args": False})
def main(
    command: Annotated[list[str] | None, typer.Argument(help="Program and arguments, after --.")] = None,
    address: Annotated[
        str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The cluster's dashboard.")
    ] = "http://127.0.0.1:8265",
    working_dir: Annotated[Path, typer.Option(help="The checkout to ship.", show_default="this one")] = ROOT,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the log until the job ends.")] = True,
) -> None:
    """Submit a command to a Ray cluster; its log goes to standard output."""
    logging.disable(logging.WARNING)  # Ray's client reports every upload and every closed connection
    job = submit(address.rstrip("/"), command or [], working_dir)
    print(f"follow with  {job.ray_command('logs --follow')}", file=sys.stderr)
    print(f"stop with    {job.ray_command('stop')}", file=sys.stderr)
    if not wait:
        print(job.id)
        return
    try:
        failure = follow(job)
    except KeyboardInterrupt:
        print("\nsubmit: no longer following; the job goes on, stop it as shown above.", file=sys.stderr)
        raise typer.Exit(130) from None
    if failure:
        print(f"submit: {failure}", file=sys.stderr)
        raise typer.Exit(1)


if __name__ == "__main__":
    with report_user_errors("submit"):
        app()
