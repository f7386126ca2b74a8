"""Pictures of control: what was asked for against what a judge finds, and molecules along a row of wishes.

    python benchmarks/asked_and_achieved.py qm9-cond --num 100

Three ways of making molecules stand side by side, all of the preset `fast`: only told what is asked for, pulled to it,
and the best of eight branches that are pulled. Values and sizes of training molecules are asked for, one property at a
time.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from choice import drawn
from kept import kept

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.data.properties import unit_of
from ead_core.data.store import MoleculeSet
from ead_core.data.targets import Targets
from ead_core.errors import report_user_errors
from ead_core.judge.verdict import judged
from ead_core.pictures.figures import new_figure, write_figure
from ead_core.pictures.molecules import draw_molecule
from ead_core.prediction.judge import Judge, load_judge
from ead_core.sampling.generation import fulfil
from ead_core.sampling.requests import Request, sampler_config

PRESET = "fast"
WAYS: dict[str, dict[str, Any]] = {
    "told only": {"property_guidance": 0.0},
    "pulled": {"property_guidance": 3.0},
    "pulled, best of 8 branches": {"property_guidance": 3.0, "property_levels": (0.2, 0.4), "branches": 8},
}
COLOURS = ("0.7", "#1f77b4", "#d1495b")
ROW = ("gap", (4000, 5000, 6000, 7000, 8000, 9000))  # meV
EACH = 2  # molecules per wish of the row


def made(model: Checkpoint, targets: Targets, num: int, way: str, seed: int) -> MoleculeSet:
    """Molecules of a way."""
    request = Request(num, sampler_config(model, WAYS[way], PRESET), seed, targets=targets)
    with progress_bar(f"{targets.names[0]}, {way}", num) as progress:
        return fulfil(model, request, progress)


def pairs(model: Checkpoint, judge: Judge, name: str, num: int, seed: int) -> dict[str, Any]:
    """By way, what was asked for and what the judge finds."""
    targets, found = drawn(model, name, num, seed), {}
    for way in WAYS:
        (verdict,) = judged(made(model, targets, num, way, seed), judge)
        found[way] = {"asked": verdict.asked.tolist(), "achieved": verdict.achieved.tolist()}
    return found


def draw_pairs(all_pairs: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """A panel per property, a colour per way."""
    figure = new_figure(11, 7)
    for axes, (name, ways) in zip(figure.subplots(2, 3).ravel(), all_pairs.items(), strict=False):
        ends = np.quantile([ways[way]["asked"] for way in ways], (0, 1))
        axes.plot(ends, ends, color="0.4", linewidth=0.8)
        for colour, (way, each) in zip(COLOURS, ways.items(), strict=True):
            off = float(np.abs(np.subtract(each["asked"], each["achieved"])).mean())
            axes.scatter(each["asked"], each["achieved"], s=9, color=colour, label=f"{way}: {off:.4g}", linewidths=0)
        axes.set(title=f"{name}, {unit_of(name).symbol}", xlabel="asked for", ylabel="found by the judge")
        axes.legend(title="mean error", frameon=False, fontsize=7, title_fontsize=7)
    write_figure(figure, path)


def draw_row(model: Checkpoint, judge: Judge, path: Path, seed: int) -> None:
    """Molecules for rising values of a property, each with what the judge finds."""
    name, wishes = ROW
    targets = Targets((name,), tuple(((float(value), float(value)),) for value in wishes for _ in range(EACH)))
    molecules = made(model, targets, len(targets.rows), "pulled, best of 8 branches", seed)
    (verdict,) = judged(molecules, judge)
    figure = new_figure(2 * len(wishes), 2.3 * EACH)
    panels = figure.subplots(EACH, len(wishes), squeeze=False).T.ravel()
    for place, panel in enumerate(panels):
        panel.set_axis_off()
        panel.set_aspect("equal")
        draw_molecule(panel, molecules[place])
        said = f"asked {verdict.asked[place] / 1000:.1f} eV, found {verdict.achieved[place] / 1000:.1f}"
        panel.set_title(f"{molecules[place].formula}\n{said}", fontsize=8)
    write_figure(figure, path)


def main(
    checkpoint: Annotated[str, typer.Argument(help="A conditional model, name or folder.")] = "qm9-cond",
    judge: Annotated[str, typer.Option(help="Name or folder.")] = "qm9-judge",
    num: Annotated[int, typer.Option(min=1, help="Molecules per property and way.")] = 100,
    seed: Annotated[int, typer.Option(help="Key of all noise.")] = 7,
    work: Annotated[Path, typer.Option(help="Keeps a file per finished property.")] = Path("runs/asked-and-achieved"),
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = Path("docs/results"),
) -> None:
    """Measure what is missing, and draw both pictures."""
    tune_cpu(1)
    model, judging = load_checkpoint(checkpoint), load_judge(judge)
    folder, all_pairs = work / f"{model.fingerprint()}-{judging.fingerprint}-{num}-{seed}", {}
    for name in judging.statistics.properties:
        all_pairs[name] = kept(folder / f"{name}.json", partial(pairs, model, judging, name, num, seed))
    draw_pairs(all_pairs, out / "asked-and-achieved.png")
    draw_row(model, judging, out / "gap-row.png", seed)


if __name__ == "__main__":
    with report_user_errors("asked_and_achieved"):
        typer.run(main)
