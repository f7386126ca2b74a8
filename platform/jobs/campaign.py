"""Look at a generation or end it: `python platform/jobs/campaign.py status DIR`, `… cancel DIR`.

Anybody who can read the folder of `generate.py` can ask how far it has come, from any machine; who can write it can ask
its run to stop. What is finished stays, and the same command continues.
"""

from typing import Annotated

import typer
from ead_platform.generation.places import place_of
from ead_platform.generation.status import cancel as ask_to_stop
from ead_platform.generation.status import status as status_of

from ead_core.errors import report_user_errors

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
Folder = Annotated[str, typer.Argument(help="What was given to generate.py as --out.")]


@app.command()
def status(where: Folder) -> None:
    """Say how far a generation has come, and how long it will take."""
    print(*status_of(place_of(where)).lines, sep="\n")


@app.command()
def cancel(where: Folder) -> None:
    """Ask the run that is at work to stop, which it does within seconds."""
    ask_to_stop(place_of(where))
    print(f"The run in {where} is asked to stop; the command that started it continues.")


if __name__ == "__main__":
    with report_user_errors("campaign"):
        app()
