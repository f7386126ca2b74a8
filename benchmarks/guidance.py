"""Molecules with wanted properties: how near they come, and how good they are, told, guided or pulled.

    python benchmarks/guidance.py runs/qm9-small-cond --judge runs/judge --num 500
    python benchmarks/guidance.py qm9-cond --scale 0 --pull 3 --preset fast --num 500

One property at a time is asked for, with values of training molecules and their sizes (EDM's protocol); a last block of
rows asks for all at once. A finished row is a file in the work folder, so the command goes on where it was.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from kept import kept

from ead_core.checkpoints.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from ead_core.cli.console import progress_bar
from ead_core.common.cpu import tune_cpu
from ead_core.config.presets import PresetName
from ead_core.data.properties import unit_of
from ead_core.errors import ConfigError, report_user_errors
from ead_core.evaluation.published import evaluate_published
from ead_core.evaluation.quality import QUALITY, Quality
from ead_core.evaluation.quality_cards import measured_setting
from ead_core.judge.verdict import judged, to_json
from ead_core.pictures.figures import new_figure, write_figure
from ead_core.pictures.molecules import check_picture
from ead_core.prediction.judge import Judge, load_judge
from ead_core.sampling.generation import sample

SCALES = (0.0, 2.0, 5.0, 10.0)
ALL = "all"
FEW: dict[str, Any] = {"policy": "synchronous", "steps": 50, "grid": "quadratic", "solver": "dpmpp_2m_sde"}
TITLES = "asked for, by, error (95 %), judge's own, molecules stable %, valid %, network calls, s/molecule"


class Row(NamedTuple):
    """What is asked for, a property or all of them, ω, and how strong the pull of the predictor is."""

    asked: str
    guidance: float
    property_guidance: float = 0.0

    @property
    def way(self) -> str:
        """Guidance or pull, in words."""
        return f"pull {self.property_guidance:g}" if self.property_guidance else f"ω {self.guidance:g}"

    @property
    def name(self) -> str:
        """Of its file."""
        pull = f"-pull-{self.property_guidance:g}" * bool(self.property_guidance)
        return f"{self.asked}-{self.guidance:g}{pull}"


def measure(
    model: Checkpoint, judge: Judge, row: Row, num: int, seed: int, preset: PresetName | None
) -> dict[str, Any]:
    """The figures of a row; a range as wide as training leaves every value to the table of training molecules."""
    names = list(judge.statistics.properties) if row.asked == ALL else [row.asked]
    seen = model.statistics.properties
    wanted = {name: (seen[name].smallest, seen[name].largest) for name in names}
    changes = {"guidance": row.guidance, "property_guidance": row.property_guidance, **({} if preset else FEW)}
    with progress_bar(row.name, num) as progress:
        molecules = sample(model, num, seed, progress=progress, targets=wanted, preset=preset, **changes)
    figures = to_json(judged(molecules, judge), judge)
    setting = f"{row.asked} asked for, {row.way}"
    changed = {f"sampler.{name}": value for name, value in changes.items()} if row.property_guidance else {}
    measured = measured_setting(setting, changed, evaluate_published(molecules)).to_json()
    return {"asked": row.asked, "guidance": row.guidance, "checkpoint": model.name, **measured, "conditional": figures}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown; errors in the unit of their property."""
    lines = [TITLES.split(", "), ["---"] * len(TITLES.split(", "))]
    for row in rows:
        cost = [f"{row['nfe_per_molecule']:.0f}", f"{row['seconds_per_molecule']:.3f}"]
        quality = [_percent(row, name) for name in ("molecule_stability", "validity")]
        for name, seen in row["conditional"]["properties"].items():
            asked = f"{name}, {unit_of(name).symbol}" + (" (with all)" if row["asked"] == ALL else "")
            low, high = seen["interval"]
            error = f"{seen['error']:.4g} ({low:.4g}–{high:.4g})"
            lines.append([asked, way_of(row), error, f"{seen['bound']:.3g}", *quality, *cost])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def way_of(row: Mapping[str, Any]) -> str:
    """Guidance or pull, as its setting says it."""
    return str(row["setting"]).rpartition(", ")[2]


def _percent(row: Mapping[str, Any], name: str) -> str:
    low, high = row["intervals"][name]
    return f"{100 * row[name]:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Error over that of the judge against stability: a line per property, a point per ω."""
    figure = new_figure(8, 5.5)
    axes = figure.subplots()
    for name in dict.fromkeys(row["asked"] for row in rows if row["asked"] != ALL):
        line = [row for row in rows if row["asked"] == name]
        seen = [row["conditional"]["properties"][name] for row in line]
        x = [100 * row["molecule_stability"] for row in line]
        y = np.array([figures["error"] / figures["bound"] for figures in seen])
        axes.plot(x, y, marker="o", label=name)
        for row, place in zip(line, zip(x, y, strict=True), strict=True):
            axes.annotate(way_of(row), place, xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.set(xlabel="stable molecules, %", ylabel="error / error of the judge on real molecules", yscale="log")
    axes.set_title(f"{rows[0]['checkpoint']}: {rows[0]['num_molecules']:,} molecules per point")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    write_figure(figure, path)


def document(rows: Sequence[Mapping[str, Any]], seed: int) -> Quality:
    """The rows that `ead models` shows, in which all is asked for, and those of one property."""
    stored = {
        "schema_version": 1,
        "checkpoint": rows[0]["checkpoint"],
        "protocol": "values and sizes of training molecules are asked for; errors by the judge; EDM's bond tables",
        "seed": seed,
        "rows": [row for row in rows if row["asked"] == ALL],
        "one_property": [row for row in rows if row["asked"] != ALL],
    }
    return Quality.parse(stored, "the quality of the model")


def main(  # noqa: PLR0913, PLR0917
    checkpoint: Annotated[str, typer.Argument(help="A conditional model, name or folder.")] = "qm9-small-cond",
    judge: Annotated[str, typer.Option(help="Name or folder.")] = "qm9-judge",
    scale: Annotated[list[float] | None, typer.Option(help=f"ω; {', '.join(map(str, SCALES))} if not given.")] = None,
    pull: Annotated[list[float] | None, typer.Option(help="Rows of sampler.property_guidance without ω.")] = None,
    preset: Annotated[PresetName | None, typer.Option(help="Of the model; 50 quadratic steps if not given.")] = None,
    num: Annotated[int, typer.Option(min=1, help="Molecules per row.")] = 500,
    seed: Annotated[int, typer.Option(help="Key of all noise.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch.")] = None,
    work: Annotated[Path, typer.Option(help="Keeps a file per finished row.")] = Path("runs/guidance"),
    picture: Annotated[Path, typer.Option(help="Where to draw.")] = Path("docs/results/guidance.png"),
    quality: Annotated[bool, typer.Option("--quality", help="Write the rows to the model's quality.json.")] = False,
) -> None:
    """Measure the missing rows, then print the table and draw the picture."""
    check_picture(picture)
    tune_cpu(threads)
    model, judging = load_checkpoint(checkpoint), load_judge(judge)
    unknown = set(judging.statistics.properties) - set(model.statistics.properties)
    if unknown:
        raise ConfigError(
            f"{judging.name} judges {', '.join(sorted(unknown))}, which {model.name} cannot be asked for."
        )
    folder = work / f"{model.fingerprint()}-{judging.fingerprint}-{num}-{seed}{f'-{preset}' if preset else ''}"
    ways = [*((omega, 0.0) for omega in scale or SCALES), *((0.0, strength) for strength in pull or ())]
    rows = [Row(asked, *way) for asked in (*judging.statistics.properties, ALL) for way in ways]
    done = [kept(folder / f"{row.name}.json", partial(measure, model, judging, row, num, seed, preset)) for row in rows]
    typer.echo(table(done))
    draw(done, picture)
    if quality:
        document(done, seed).save(find_checkpoint(checkpoint) / QUALITY)


if __name__ == "__main__":
    with report_user_errors("guidance"):
        typer.run(main)
