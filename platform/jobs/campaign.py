"""Look at a generation or end it: `python platform/jobs/campaign.py status DIR`, `… cancel DIR`.

Anybody who can read the folder of `generate.py` can ask how far it has come, from any machine; who can write it can ask
its run to stop. What is finished stays, and the same command continues.
"""

from pathlib import Path
from typing import Annotated

import typer
from ead_platform.generation.status import cancel as ask_to_stop
from ead_platform.generation.status import status as status_of

from ead_core.errors import report_user_errors

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
Folder = Annotated[Path, typer.Argument(help="The folder given to generate.py as --out.")]


@app.command()
def status(folder: Folder) -> None:
    """Say how far a generation has come, and how long it will take."""
    print(*status_of(folder).lines, sep="\n")


@app.command()
def cancel(folder: Folder) -> None:
    """Ask the run that is at work to stop, which it does within seconds."""
    ask_to_stop(folder)
    print(f"The run in {folder} is asked to stop; the command that started it continues.")


if __name__ == "__main__":
    with report_user_errors("campaign"):
        app()
