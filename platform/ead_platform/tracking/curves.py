"""The curves of a training as a picture: losses by noise level, quality, gradient norm, and speed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ead_core.pictures.figures import new_figure, write_figure

Curve = Sequence[tuple[int, float]]  # (step, value)
BANDS = "loss_above_"
WATCHED = ("epoch", "seconds", "learning_rate", "molecules_per_second", "gradient_norm", "loss")


def is_quality(name: str) -> bool:
    """Whether a metric of a training comes from its quality check: a function of the weights, not of a time window."""
    return name not in WATCHED and not name.startswith((BANDS, "system/", "card/", "reproduction/"))


def draw_curves(curves: Mapping[str, Curve], path: Path) -> None:
    """Write a picture of four panels.

    Args:
        curves: by the name of the metric.
        path: of the picture.
    """
    figure = new_figure(11, 6.5)
    losses, quality, gradients, speed = figure.subplots(2, 2).flat
    bands = sorted((name for name in curves if name.startswith(BANDS)), key=lambda name: float(name[len(BANDS) :]))
    titles = {name: f"level above {name[len(BANDS) :]}" for name in bands}
    _draw(losses, curves, {"loss": "all levels", **titles}, "loss", log=True)
    _draw(quality, curves, {name: name.replace("_", " ") for name in sorted(curves) if is_quality(name)}, "quality")
    _draw(gradients, curves, {"gradient_norm": "gradient norm before clipping"}, "gradients", log=True)
    _draw(speed, curves, {"molecules_per_second": "molecules per second"}, "speed")
    write_figure(figure, path, dpi=110)


def _draw(panel: Any, curves: Mapping[str, Curve], labels: Mapping[str, str], title: str, *, log: bool = False) -> None:
    """One panel with the curves that exist; without any it stays empty."""
    shown = {label: sorted(curves[name]) for name, label in labels.items() if curves.get(name)}
    if not shown:
        panel.set_axis_off()
        return
    for label, curve in shown.items():
        few = len(curve) < 30  # a mark for each, since a single one makes no line
        panel.plot(*zip(*curve, strict=True), label=label, linewidth=1, marker="." if few else None)
    if log and all(value > 0 for curve in shown.values() for _, value in curve):
        panel.set_yscale("log")
    elif not log:
        panel.set_ylim(bottom=0)
    panel.set(title=title, xlabel="optimiser step")
    panel.legend(frameon=False, fontsize=8)
