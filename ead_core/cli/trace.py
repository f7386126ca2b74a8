"""`ead trace`: pictures and pages of a recording; and what `ead sample --trace` needs to make one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ead_core.data.store import MoleculeSet
    from ead_core.sampling.requests import Prepared
    from ead_core.traces.recorder import Recorder

FIRST = 4  # molecules shown if none is named


def trace(
    file: Annotated[Path, typer.Argument(help="What `ead sample … --trace FILE` has recorded: .npz.")],
    out: Annotated[Path, typer.Option(help="Folder for levels-ID.png and trace-ID.html.")],
    molecule: Annotated[
        list[int] | None, typer.Option(help=f"Id of a molecule, as often as you like; by default the first {FIRST}.")
    ] = None,
) -> None:
    """Show how molecules were denoised: a heat map of levels, and a page that plays it in 3D, offline."""
    from ead_core.common.files import check_writable
    from ead_core.traces.heatmap import draw_levels
    from ead_core.traces.page import write_page
    from ead_core.traces.trace import load_trace

    check_writable(out / "trace.html")
    recorded = load_trace(file)
    chosen = recorded.select(molecule) if molecule else recorded.molecules[:FIRST]
    for one in chosen:
        picture, page = out / f"levels-{one.id}.png", out / f"trace-{one.id}.html"
        draw_levels(one, picture, recorded.title)
        write_page(one, page, recorded.title)
        typer.echo(f"{picture}  {page}", err=True)


def check_recording(path: Path, out: Path, overwrite: bool = False) -> None:
    """Raise, before any work, the sentence about a trace that cannot be recorded.

    Args:
        path: of the trace.
        out: where the molecules go.
        overwrite: whether a file that exists may be replaced.

    Raises:
        OutputError: a name or place where it cannot be written, or a file that would be lost.
    """
    from ead_core.common.files import check_beside
    from ead_core.traces.trace import check_trace_file

    check_trace_file(path)
    check_beside("--trace", path, out, overwrite)


def keep_recording(
    recorder: "Recorder",
    molecules: "MoleculeSet",
    path: Path,
    checkpoint: str,
    prepared: "Prepared",
) -> None:
    """Write what was recorded while `molecules` of a request were sampled, and say what to do with it."""
    from ead_core.traces.recorder import describe
    from ead_core.traces.trace import save_trace

    save_trace(recorder.trace(molecules, describe(checkpoint, prepared)), path)
    typer.echo(f"trace → {path}; `ead trace {path} --out FOLDER` shows it", err=True)
