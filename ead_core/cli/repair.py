"""`ead repair`: broken molecules of a file, mended by a model."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ead_core.cli.console import OVERWRITE, progress_bar
from ead_core.errors import ConfigError
from ead_core.evaluation.criteria import CHOICES, IN_RANGE, Acceptance
from ead_core.notes import note, note_all

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ead_core.config import SamplerConfig
    from ead_core.data.store import MoleculeSet
    from ead_core.sampling.repair_rounds import Repaired

ROUNDS = 3
DRAWN = 12  # repairs in a picture


def repair(
    file: Annotated[Path, typer.Argument(help="Molecules: .sdf, .sdf.gz, .xyz, .npz or .parquet.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="sampler.KEY=VALUE …")] = None,
    *,
    model: Annotated[str, typer.Option(help="Bundled name, directory or address (models:/…).")] = "qm9-deep",
    extent: Annotated[str | None, typer.Option(help="whole, or local: only what is broken, all else is kept.")] = None,
    level: Annotated[float | None, typer.Option(help="How far up, as a share of the noise levels.")] = None,
    hops: Annotated[int | None, typer.Option(help="With local: so many bonds around a defect.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Attempts at a molecule before it is left: 3.")] = None,
    until: Annotated[str, typer.Option(help=f"What is good, e.g. 'valid & stable'; there are {CHOICES}.")] = "valid",
    every: Annotated[bool, typer.Option("--all", help="Also molecules that are not broken.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal molecules.")] = 0,
    out: Annotated[Path, typer.Option(help="Output file: .sdf, .sdf.gz, .xyz, .npz or .parquet.")] = Path("mended.sdf"),
    picture: Annotated[Path | None, typer.Option(help="Before, freed atoms, after: .html, .png, .svg or .pdf.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads; more only help on idle cores.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help=OVERWRITE)] = False,
) -> None:
    """Mend the broken molecules of a file; the others, and those that cannot be mended, stay as they are."""
    import numpy as np

    from ead_core.checkpoints.checkpoint import load_checkpoint
    from ead_core.common.cpu import tune_cpu
    from ead_core.common.files import check_not_lost
    from ead_core.config import parse_overrides, sampler_settings
    from ead_core.data.formats import check_output, read_molecules, write_molecules
    from ead_core.data.losses import Losses
    from ead_core.evaluation.acceptance import accepted
    from ead_core.pictures.repairs import check_repair_picture
    from ead_core.sampling.repair import check_extent, unfit
    from ead_core.sampling.repair_rounds import repair as mend
    from ead_core.sampling.requests import sampler_config

    check_output(out)
    check_not_lost(out, overwrite)
    if picture:
        check_repair_picture(picture)
        check_not_lost(picture, overwrite)
    good = partial(accepted, acceptance=_criteria(until))
    options = {"attempts": rounds, "extent": extent, "level": level, "hops": hops}
    asked: dict[str, Any] = {f"repair_{name}": value for name, value in options.items() if value is not None}
    chosen = {"repair_attempts": ROUNDS, **sampler_settings(parse_overrides(overrides or [])), **asked}
    tune_cpu(threads)
    checkpoint = load_checkpoint(model)
    config = sampler_config(checkpoint, chosen)
    _check_plain(config, chosen)
    check_extent(checkpoint, config)
    report = read_molecules(file)
    Losses([report]).tell()
    molecules = report.molecules
    broken, reasons = ~good(molecules), unfit(checkpoint, molecules)
    wanted = broken | every
    tried = wanted & np.array([not reason for reason in reasons])
    _tell_passed_over([reason for reason, one in zip(reasons, wanted, strict=True) if one and reason], len(molecules))
    with progress_bar(f"repairing with {checkpoint.name}", config.repairs * int(tried.sum())) as progress:
        result = mend(checkpoint, molecules, config, good, tried, seed, progress)
    notes = write_molecules(result.molecules, out)
    typer.echo(_summary(result, broken, out), err=True)
    note_all(notes)
    if picture:
        _draw(molecules, result, picture)


def _criteria(text: str) -> Acceptance:
    """What makes a molecule good (ConfigError for what cannot be said of a molecule by itself)."""
    criteria = Acceptance.parse(text)
    if criteria.compares:
        raise ConfigError("a molecule is repaired for what it is by itself; unique and novel depend on others.")
    if IN_RANGE in criteria.limits:
        raise ConfigError(f"{IN_RANGE} needs targets, with which molecules are made; it is no criterion of repair.")
    return criteria


def _check_plain(config: "SamplerConfig", asked: Mapping[str, object]) -> None:
    """Refuse what serves targets, which molecules are not repaired for (ConfigError)."""
    for key in ("branches", "property_guidance"):
        if key in asked and asked[key] != type(config).model_fields[key].default:
            raise ConfigError(f"sampler.{key} brings molecules nearer to targets; it has no effect on a repair.")


def _tell_passed_over(reasons: list[str], total: int) -> None:
    for reason, count in Counter(reasons).most_common():
        note(f"{count} of {total} molecules cannot be repaired: {reason}.")


def _summary(result: "Repaired", broken: "NDArray[np.bool_]", out: Path) -> str:
    molecules, mended = result.molecules, result.mended
    done, left = int((mended & broken).sum()), int((~mended & broken).sum())
    renewed = int((mended & ~broken).sum())
    others = f", {renewed} others made anew" if renewed else ""
    calls = molecules.properties["nfe"].sum() / len(molecules)
    return (
        f"{len(molecules)} molecules → {out} ({int(broken.sum())} broken: {done} mended, {left} left as they were"
        f"{others}; {calls:.1f} network calls per molecule in all); a selection with partial restarts"
    )


def _draw(molecules: "MoleculeSet", result: "Repaired", path: Path) -> None:
    """The first repairs that succeeded."""
    import numpy as np

    from ead_core.pictures.repairs import Mended, show_repairs

    places = np.flatnonzero(result.mended)[:DRAWN].tolist()
    if not places:
        note(f"no molecule was mended, so that {path} is not drawn.")
        return
    show_repairs([Mended(molecules[place], result.freed[place], result.molecules[place]) for place in places], path)
    typer.echo(f"picture → {path}", err=True)
