"""Molecule records on their way from a file into a set: good ones are joined, bad ones named and counted."""

import itertools
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ead_core.chemistry.elements import HEAVIEST
from ead_core.data.columns import make_columns
from ead_core.data.misfits import Misfit
from ead_core.data.store import CORE_ARRAYS, MoleculeSet
from ead_core.errors import DataError

Property = float | int | str

PASSPORT = "passport"  # what the first record of a text says of all: no property of one molecule, so of no set
RESERVED = (*CORE_ARRAYS, "elements", "file", "allow_pickle")  # names that the stores use themselves


class Skipped(NamedTuple):
    """A record that is left out, and one sentence why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Record:
    """One molecule as its file has it: atomic numbers [N], positions [N, 3] in Å, named values, and what is left out.

    Values that a file has as text stay text here; `make_columns` decides what they are.
    """

    charges: NDArray[Any]
    positions: NDArray[Any]
    properties: Mapping[str, Property] = field(default_factory=dict)
    misfits: tuple[Misfit, ...] = ()


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
        misfits: values that did not fit into their columns.
    """

    molecules: MoleculeSet
    skipped: list[Skipped]
    excluded: int = 0
    names: list[str] = field(default_factory=list)
    misfits: tuple[Misfit, ...] = ()


@dataclass(frozen=True)
class Named:
    """A set whose values are not checked yet, the names [M] of its molecules, and what is lost so far."""

    names: list[str]
    molecules: MoleculeSet
    skipped: list[Skipped] = field(default_factory=list)
    misfits: tuple[Misfit, ...] = ()


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
    properties, misfits = _columns(records)
    molecules = MoleculeSet.from_lists([r.charges for r in records], positions, properties)
    misfits += tuple(itertools.chain.from_iterable(record.misfits for record in records))
    return Named(names, molecules, skipped, misfits)


def screen(found: Named) -> ReadReport:
    """Take out every molecule with a coordinate that is no number or an atom that is no element."""
    molecules = found.molecules
    if not len(molecules):
        return ReadReport(molecules, found.skipped, misfits=found.misfits)
    finite = molecules.finite
    known = (molecules.charges >= 1) & (molecules.charges <= HEAVIEST)
    elements = np.logical_and.reduceat(known, molecules.offsets[:-1])
    skipped = list(found.skipped)
    good = finite & elements
    for index in np.flatnonzero(~good):
        reason = "an atom has no element" if finite[index] else "a coordinate is not a finite number"
        skipped.append(Skipped(found.names[index], f"{reason}."))
    names = [found.names[index] for index in np.flatnonzero(good)]
    return ReadReport(molecules.select(good), skipped, names=names, misfits=found.misfits)


def property_name(name: str, others: Container[str] = ()) -> str:
    """A name under which a property can be stored beside the core arrays, and beside other properties."""
    stored = name or "unnamed"
    while stored in RESERVED or (stored != name and stored in others):
        stored += "_"
    return stored


def _columns(records: list[Record]) -> tuple[dict[str, NDArray[Any]], tuple[Misfit, ...]]:
    """The union of what is known of them, and what did not fit."""
    names = dict.fromkeys(name for record in records for name in record.properties if name != PASSPORT)
    arrays, misfits = make_columns({name: [record.properties.get(name) for record in records] for name in names})
    return {property_name(name, arrays): values for name, values in arrays.items()}, misfits
