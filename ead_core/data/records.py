"""Molecule records on their way from a file into a set: good ones are joined, bad ones named and counted."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.data.store import CORE_ARRAYS, MoleculeSet
from ead_core.errors import DataError

Property = float | int | str

HEAVIEST = 118  # the last element of the periodic table
TEXT_PROPERTIES = ("smiles", "molecule", "name", "warning", "hardware")  # other text has no use in a set of numbers
RESERVED = (*CORE_ARRAYS, "elements", "file", "allow_pickle")  # names that the stores use themselves


class Skipped(NamedTuple):
    """A record that is left out, and one sentence why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Record:
    """One molecule as its file has it: atomic numbers [N], positions [N, 3] in Å and named values."""

    charges: NDArray[Any]
    positions: NDArray[Any]
    properties: dict[str, Property] = field(default_factory=dict)


Outcome = tuple[str, Record | str]  # the name of a record, and the molecule or why there is none
Unparsed = Callable[[], Outcome]  # a record that has been cut out of its file, but not looked into yet


@dataclass(frozen=True)
class ReadReport:
    """What came out of a source.

    Attributes:
        molecules: the usable molecules, in the order of the source.
        skipped: (name, one-sentence reason) of every record that is unusable.
        excluded: how many good molecules an exclusion list has taken out.
        names: of the usable molecules.
    """

    molecules: MoleculeSet
    skipped: list[Skipped]
    excluded: int = 0
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Named:
    """A set whose values are not checked yet, the names [M] of its molecules, and what is skipped so far."""

    names: list[str]
    molecules: MoleculeSet
    skipped: list[Skipped] = field(default_factory=list)


def attempt(name: str, parse: Callable[[], Record]) -> Outcome:
    """The record that `parse` returns, or the sentence of the DataError that it raises."""
    try:
        record = parse()
    except DataError as error:
        return name, str(error)
    return (name, record) if len(record.charges) else (name, "it has no atoms.")


def assemble(outcomes: Iterable[Outcome]) -> Named:
    """Join the good records into one set whose properties are the union of theirs."""
    names: list[str] = []
    records: list[Record] = []
    skipped: list[Skipped] = []
    for name, result in outcomes:
        if isinstance(result, str):
            skipped.append(Skipped(name, result))
        else:
            names.append(name)
            records.append(result)
    with np.errstate(over="ignore"):  # a coordinate beyond float32 becomes inf, which `screen` reports
        positions = [np.asarray(r.positions, dtype=np.float32) for r in records]
    molecules = MoleculeSet.from_lists([r.charges for r in records], positions, _columns(records))
    return Named(names, molecules, skipped)


def screen(found: Named) -> ReadReport:
    """Take out every molecule with a coordinate that is no number or an atom that is no element."""
    molecules = found.molecules
    if not len(molecules):
        return ReadReport(molecules, found.skipped)
    starts = molecules.offsets[:-1]
    finite = np.logical_and.reduceat(np.isfinite(molecules.positions).all(axis=1), starts)
    known = (molecules.charges >= 1) & (molecules.charges <= HEAVIEST)
    elements = np.logical_and.reduceat(known, starts)
    skipped = list(found.skipped)
    good = finite & elements
    for index in np.flatnonzero(~good):
        reason = "an atom has no element" if finite[index] else "a coordinate is not a finite number"
        skipped.append(Skipped(found.names[index], f"{reason}."))
    return ReadReport(molecules.select(good), skipped, names=[found.names[index] for index in np.flatnonzero(good)])


def property_name(name: str) -> str:
    """A name under which a property can be stored beside the core arrays."""
    return f"{name}_" if name in RESERVED else name


def _columns(records: list[Record]) -> dict[str, NDArray[Any]]:
    names = dict.fromkeys(name for record in records for name in record.properties)
    columns = {name: _column(name, [r.properties.get(name) for r in records]) for name in names}
    return {property_name(name): values for name, values in columns.items() if values is not None}


def _column(name: str, values: list[Property | None]) -> NDArray[Any] | None:
    """Integers if all are, else floats with NaN where unknown; text only under the known names."""
    if name in TEXT_PROPERTIES:
        return np.array(["" if value is None else str(value) for value in values])
    if any(isinstance(value, str) for value in values):
        return None
    if all(isinstance(value, int) for value in values):
        return np.array(values, dtype=np.int64)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
