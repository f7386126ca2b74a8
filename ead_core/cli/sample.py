"""`ead sample`: molecules from a trained model."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ead_core.cli.console import BEYOND_TRAINING, OVERWRITE, PRESET, THREADS, progress_bar
from ead_core.cli.judge import selector_for
from ead_core.cli.match import MATCH, POOL, WISHES, check_counts, match_order_of, report_wishes
from ead_core.cli.trace import check_recording, keep_recording
from ead_core.common.files import check_beside, check_not_lost
from ead_core.config import Config, parse_overrides, read_mapping, sampler_settings
from ead_core.config.conditions import as_yaml
from ead_core.config.reference import entries
from ead_core.errors import ConfigError, EADError
from ead_core.evaluation.criteria import CHOICES
from ead_core.notes import note_all
from ead_core.sampling.order import LEAST_TRIES, PER_WISH, TRIES, MatchOrder, Order, check_repairs, criteria_of

if TYPE_CHECKING:
    from ead_core.checkpoints.checkpoint import Checkpoint
    from ead_core.data.store import MoleculeSet
    from ead_core.data.targets import Targets
    from ead_core.data.wish_tables import WishTable
    from ead_core.sampling.account import Delivery
    from ead_core.sampling.requests import Prepared, Request

SAMPLER_KEYS = "Sampler keys (see `ead config`), with their defaults before a checkpoint's own: " + "; ".join(
    f"{entry.key}={as_yaml(entry.default)}" for entry in entries(Config).values() if entry.section == "sampler"
)
NUM = 16  # molecules, if nothing says how many
ACCEPT = f"What a delivered molecule must be, e.g. 'valid & unique'; there are {CHOICES}."
UNTIL = "Go on until so many are as --accept says, or valid, unique and in the range of --target."
SELECTOR = "Who predicts targets for --best-of, --match, in_range, branches or property_guidance: a name or a folder."
MAX_ATTEMPTS = (
    f"With --until: at most so many, else {TRIES} per molecule and at least {LEAST_TRIES:,}. "
    f"With --match: so many, else {PER_WISH} per row."
)
TARGETS = ".csv or .parquet of targets, a row per molecule, or per `count` of them; `key` names a row."
TOO_FEW, INTERRUPTED = 1, 130  # exit codes


def sample(
    checkpoint: Annotated[str, typer.Argument(help="Bundled name, directory or address (models:/…).")],
    overrides: Annotated[list[str] | None, typer.Argument(help="sampler.KEY=VALUE …")] = None,
    num: Annotated[int | None, typer.Option(help="How many molecules: 16, or the rows of --targets.")] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal molecules.")] = 0,
    out: Annotated[Path, typer.Option(help="Output file: .sdf, .sdf.gz, .xyz, .npz or .parquet.")] = Path("out.sdf"),
    sizes: Annotated[str | None, typer.Option(help="Atoms per molecule: 18, 15,18,21 (cycled) or 15-20.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="gap=6500 or mu=1:3, in units of `ead models`.")] = None,
    targets: Annotated[Path | None, typer.Option(help=TARGETS)] = None,
    composition: Annotated[str | None, typer.Option(help="A formula such as C7H10O2 for all molecules.")] = None,
    fragment: Annotated[Path | None, typer.Option(help="A molecule to keep and complete, e.g. an .sdf.")] = None,
    best_of: Annotated[int | None, typer.Option(min=2, help="Make so many of each, and keep the best.")] = None,
    selector: Annotated[str | None, typer.Option(help=SELECTOR)] = None,
    accept: Annotated[list[str] | None, typer.Option(help=ACCEPT)] = None,
    until: Annotated[int | None, typer.Option(min=1, help=UNTIL)] = None,
    max_attempts: Annotated[int | None, typer.Option(min=1, help=MAX_ATTEMPTS)] = None,
    match: Annotated[bool, typer.Option("--match", help=MATCH)] = False,
    pool: Annotated[int | None, typer.Option(min=1, help=POOL)] = None,
    wishes: Annotated[Path | None, typer.Option(help=WISHES)] = None,
    preset: Annotated[str | None, typer.Option(help=PRESET)] = None,
    settings: Annotated[Path | None, typer.Option(help="YAML of sampler.* keys, e.g. a sweep's best.yaml.")] = None,
    threads: Annotated[int, typer.Option(min=1, help=THREADS)] = 1,
    beyond_training: Annotated[bool, typer.Option("--beyond-training", help=BEYOND_TRAINING)] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help=OVERWRITE)] = False,
    record: Annotated[Path | None, typer.Option("--trace", help="Record every call for `ead trace`: .npz.")] = None,
) -> None:
    """Generate molecules with a trained model."""
    from ead_core.checkpoints.checkpoint import load_checkpoint
    from ead_core.common.cpu import tune_cpu
    from ead_core.data.formats import check_output
    from ead_core.data.priors import parse_sizes
    from ead_core.data.target_tables import gather_wishes
    from ead_core.sampling.fragment_file import read_fragment
    from ead_core.sampling.requests import Request, prepare, sampler_config

    check_output(out)
    check_not_lost(out, overwrite)
    if record:
        check_recording(record, out, overwrite)
    alone = {"--num": num and (until or match), "--best-of": best_of, "--trace": record}
    table = match_order_of(
        match, targets, accept, (pool, max_attempts), wishes, {**alone, "--until": until, "--fragment": fragment}
    )
    order = table or order_of(accept, until, max_attempts, alone, target)  # before the model is loaded
    if wishes:
        check_beside("--wishes", wishes, out, overwrite)
    chosen = _settings(settings, overrides or [])
    check_repairs(chosen, order is not None)
    kept = read_fragment(fragment) if fragment else None
    atoms = parse_sizes(sizes)
    tune_cpu(1)
    model = load_checkpoint(checkpoint)
    rows = gather_wishes(target or [], targets, composition, model.statistics.atom_numbers)
    check_counts(rows, {"--num": num, "--until": until, "--accept": accept and not match})
    wanted = rows.wishes(range(rows.total)) if rows else None
    if num is None:
        num = rows.total if rows and targets else NUM
    config = sampler_config(model, chosen, preset, around_fragment=kept is not None)
    names, predicts = wanted.names if wanted else (), order is not None and order.predicts
    chooser = selector_for(best_of, config, selector, model, names, predicts)
    request = Request(num, config, seed, 0, atoms, wanted, kept, selector=chooser).each(best_of or 1)
    if record:
        _check_recordable(request)
    prepared = prepare(model, request)  # what is wrong is said before anything else
    _warn(model, prepared, wanted, beyond_training)
    if order:
        _deliver(model, prepared, order, out, threads, rows, wishes)
    else:
        _attempt(model, prepared, best_of, out, record, threads, rows)


def _settings(path: Path | None, overrides: list[str]) -> dict[str, Any]:
    """Keys of the sampler from a file and from the command line, which wins."""
    stored = read_mapping(path, "keys such as `sampler.async_ratio: 0.2`") if path else {}
    return sampler_settings({**stored, **parse_overrides(overrides)})


def _warn(model: "Checkpoint", prepared: "Prepared", wanted: "Targets | None", beyond_training: bool) -> None:
    """Say what may go wrong with a request (ConfigError: sizes that no training molecule has)."""
    from ead_core.sampling.conditions import check_sizes_seen, warnings_before
    from ead_core.sampling.fragment_warnings import fragment_warnings

    if not beyond_training:
        check_sizes_seen(model, prepared.start.sizes)
    kept = prepared.request.fragment
    for warning in (*warnings_before(model, wanted), *(fragment_warnings(kept) if kept else ())):
        typer.echo(f"warning: {warning}", err=True)


def _attempt(
    model: "Checkpoint",
    prepared: "Prepared",
    best_of: int | None,
    out: Path,
    record: Path | None,
    threads: int,
    rows: "WishTable | None",
) -> None:
    """Make all molecules of a request, or keep the best of each, and write them and their trace."""
    from ead_core.judge.selection import best_of as choose
    from ead_core.sampling.generation import fulfil
    from ead_core.traces.recorder import Recorder

    request = prepared.request
    recorder = Recorder(model.atom_types) if record else None
    with progress_bar(f"sampling with {model.name}", request.num) as progress:
        molecules = fulfil(model, prepared, progress, recorder, threads)
    if best_of:
        molecules = choose(molecules, best_of, request.selector)
    candidates = (best_of or 1) * request.sampler.branches
    selection = f"; a selection, each the best of {candidates} candidates" if candidates > 1 else ""
    _write(_named(molecules, rows, best_of or 1), out, selection, _passport(model, request))
    if record and recorder:
        keep_recording(recorder, molecules, record, model.name, prepared)


def _named(molecules: "MoleculeSet", rows: "WishTable | None", candidates: int = 1) -> "MoleculeSet":
    """Molecules with the keys of the rows that they were made for, by their ids, of which each has some candidates."""
    return rows.named(molecules, rows.rows_of(molecules.properties["id"] // candidates)) if rows else molecules


def _check_recordable(request: "Request") -> None:
    """Refuse to record more molecules than a trace may have, or branches of them (ConfigError)."""
    from ead_core.traces.recorder import check_traceable

    check_traceable(request.num)
    if request.sampler.branches > 1:
        raise ConfigError("--trace cannot be combined with sampler.branches, most of which do not reach the end.")


def order_of(
    accept: list[str] | None,
    until: int | None,
    max_attempts: int | None,
    alone: Mapping[str, object],
    target: list[str] | None = None,
) -> Order | None:
    """What is to be delivered, None if all attempts are; with --until and a range as --target, what lies in the range.

    Args:
        accept, until, max_attempts, target: the options.
        alone: options that do not go with these, with their values.

    Raises:
        ConfigError: options that do not go together.
    """
    from ead_core.data.targets import parse_targets

    wanted = parse_targets(target or []) if until and not accept else None
    criteria = criteria_of(accept, until, wanted is not None and bool(wanted.limited.any()))
    if criteria is None:
        for option, number in (("--until", until), ("--max-attempts", max_attempts)):
            if number is not None:
                raise ConfigError(
                    f"{option} needs --accept, which says what a delivered molecule must be, or a range as --target."
                )
        return None
    for option, value in alone.items():
        if value:
            raise ConfigError(f"{option} cannot be combined with {'--until' if option == '--num' else '--accept'}.")
    return Order(criteria, until, max_attempts)


def _deliver(
    model: "Checkpoint",
    prepared: "Prepared",
    order: Order | MatchOrder,
    out: Path,
    threads: int,
    rows: "WishTable | None",
    wishes: Path | None,
) -> None:
    """Make what is accepted, or what the wishes of a table get, and write it."""
    from ead_core.sampling.account import Delivery
    from ead_core.sampling.delivery import deliver
    from ead_core.sampling.matching import match_wishes

    request = prepared.request
    total = order.attempts(request.num)[1] if isinstance(order, MatchOrder) else order.until or request.num
    with progress_bar(f"sampling with {model.name}", total) as progress:
        if isinstance(order, Order):
            molecules, ledger = deliver(model, request, order, progress, threads)
            delivery = Delivery(_named(molecules, rows), ledger)
        else:
            assert rows is not None  # since they are matched
            matches = match_wishes(model, prepared, order, progress, threads).by_row(rows)
            report_wishes(matches, rows, wishes)
            delivery = Delivery(matches.molecules, matches.ledger)
    _write_delivery(delivery, out, _passport(model, request, matched=isinstance(order, MatchOrder)))


def _write_delivery(delivery: "Delivery", out: Path, passport: Mapping[str, str]) -> None:
    """Write what was accepted, and say what became of the attempts; ends the program if there is too little of it."""
    molecules, ledger = delivery
    typer.echo(ledger.sentence, err=True)
    if not len(molecules):
        raise EADError("no molecule was accepted, so nothing is written.")
    _write(molecules, out, "; a selection", {"ledger": json.dumps(ledger.to_json()), **passport})
    if ledger.stopped:
        raise typer.Exit(INTERRUPTED)
    if ledger.short:
        typer.echo(f"ead: {ledger.shortage}", err=True)
        raise typer.Exit(TOO_FEW)


def _passport(model: "Checkpoint", request: "Request", *, matched: bool = False) -> dict[str, str]:
    """What the file says of how its molecules were made, for `ead reproduce`."""
    from ead_core.data.records import PASSPORT
    from ead_core.sampling.passport import Passport

    return {PASSPORT: Passport.of(model.name, model.fingerprint(), request, matched=matched).to_text()}


def _write(molecules: "MoleculeSet", out: Path, selection: str, about: Mapping[str, str]) -> None:
    """Write the usable ones, and say what they cost and what became of the others (EADError if none is usable)."""
    import numpy as np

    from ead_core.common.cpu import hardware
    from ead_core.data.formats import write_molecules
    from ead_core.data.usable import described, usable

    good, faults = usable(molecules)
    if not len(good):
        raise EADError(
            f"none of the {len(molecules)} molecules is usable ({described(faults)}), so nothing is written."
        )
    if faults:
        typer.echo(
            f"warning: {faults.total()} of {len(molecules)} molecules are left out ({described(faults)}).", err=True
        )
    made_on = {"hardware": np.full(len(good), hardware())}  # without it the seconds mean little
    notes = write_molecules(replace(good, properties={**good.properties, **made_on}), out, about)
    nfe, seconds = molecules.properties["nfe"].mean(), molecules.properties["seconds"].mean()
    cost = f"{nfe:.0f} network calls and {seconds:.2f} s per molecule"
    typer.echo(f"{len(good)} molecules → {out} ({cost}){selection}", err=True)
    note_all(notes)
