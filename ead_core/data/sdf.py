"""Reading SDF: many molfiles (V2000 or V3000) with data fields.

RDKit parses the molfiles; records and fields are cut here, because RDKit loses count after an empty record, and ends a
field or a record at lines that look like an end but are part of a value.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from rdkit import Chem, rdBase

from ead_core.chemistry.electrons import TOTAL_CHARGE
from ead_core.common.limits import RECORD
from ead_core.data.columns import known_name
from ead_core.data.drawings import is_drawing
from ead_core.data.misfits import Misfit
from ead_core.data.numerals import parse_number
from ead_core.data.records import Property, Record, Unparsed, attempt
from ead_core.data.texts import too_long
from ead_core.data.total_charges import CONTRADICTION
from ead_core.errors import DataError

_END = "$$$$"
_FIELD = re.compile(r">[^<]*<(.*)>")
_MOLFILE_END = "M  END"
_HEADER_LINES = 4  # of a molfile, the first of which is a title of any kind
_SMALL_SYMBOL = re.compile(r"^((?=[-+ \d.]).{31}|M  V30 \d+ )([a-z]{1,2})(?=\s|$)", re.MULTILINE)
_GIVEN_TWICE = "left out: the record gives another one under the same name"


def unparsed_sdf(name: str, lines: Iterable[str]) -> Iterator[Unparsed]:
    """Molecules of the lines of an SDF or molfile, before they are parsed, which takes most of the time.

    Atoms and 3D coordinates are as written; title, total charge and data fields become properties.

    Raises:
        DataError: a record is longer than `limits.RECORD`.
    """
    for number, (line, text) in enumerate(_record_texts(name, lines), start=1):
        label = f"{name}, molecule {number} (line {line})"
        yield functools.partial(attempt, label, functools.partial(_record, text))


def _record_texts(name: str, lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """First line number and text of each record; where a field follows an end mark, the mark is part of a value."""
    first, record, room = 0, list[str](), RECORD
    for start, part in _between_marks(name, lines):
        if first and _FIELD.match(next((line for line in part if line.strip()), "")):
            record += [_END, *part]
            room -= sum(map(len, part))
            if room < 0:
                raise DataError(too_long(name, first))
            continue
        if first:
            yield first, "\n".join(record)
        first, record, room = start, part, RECORD
    if first:
        yield first, "\n".join(record)


def _between_marks(name: str, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """First line number and lines of what ends in a line `$$$$`; the last may lack its mark."""
    first, part, room = 1, list[str](), RECORD
    for number, line in enumerate(lines, start=1):
        room -= len(line)
        if room < 0:
            raise DataError(too_long(name, first))
        if line.rstrip() == _END:
            yield first, part
            first, part, room = number + 1, [], RECORD
        else:
            part.append(line.rstrip("\n"))
    if any(line.strip() for line in part):
        yield first, part


def _record(text: str) -> Record:
    if not text.strip():
        raise DataError("it is empty.")
    lines = text.split("\n")
    end = _length_of_molfile(lines)
    molblock = "\n".join(lines[:end]) + "\n"
    mol = _parsed(molblock)
    charges = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64)
    if not len(charges):
        return Record(charges, np.zeros((0, 3)))
    if is_drawing(mol, molblock):
        raise DataError("it has no 3D coordinates.")
    fields, misfits = _fields(lines[end:])
    return Record(charges, mol.GetConformer().GetPositions(), *_with_molfile(fields, misfits, mol, molblock))


def _length_of_molfile(lines: Sequence[str]) -> int:
    """Lines up to its end, or to the first field where that is missing."""
    for place, line in enumerate(lines):
        if line.startswith(_MOLFILE_END):
            return place + 1
        if place >= _HEADER_LINES and line.startswith(">"):
            return place
    return len(lines)


def _parsed(molblock: str) -> Chem.Mol:
    """What RDKit makes of it, also where elements are in lower case."""
    with rdBase.CaptureErrorLog() as log:
        mol = _supplied(molblock)
        capital = _SMALL_SYMBOL.sub(lambda found: found[1] + found[2].capitalize(), molblock)
        if mol is None and capital != molblock:
            mol = _supplied(capital)
    if mol is None:
        raise DataError(f"RDKit cannot parse it ({_last_error(log.messages)}).")
    return mol


def _supplied(molblock: str) -> Chem.Mol | None:
    supplier = Chem.SDMolSupplier()  # its log says in one line what is wrong, that of MolFromMolBlock in many
    supplier.SetData(molblock, sanitize=False, removeHs=False)
    return next(iter(supplier), None)


def _last_error(log: str) -> str:
    """RDKit's own sentence, without its time stamp and the line that only says that it goes on."""
    errors = [line.split("ERROR:", 1)[1].strip() for line in log.splitlines() if "ERROR:" in line]
    return next((error for error in errors if not error.startswith("moving to")), "no molfile")


def _fields(lines: Sequence[str]) -> tuple[dict[str, Property], tuple[Misfit, ...]]:
    """Values as text; blank lines within one are part of it."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        header = _FIELD.match(line)
        if header:
            found.append((known_name(header[1].strip()), []))
        elif found:
            found[-1][1].append(line)
    fields: dict[str, Property] = {}
    misfits: tuple[Misfit, ...] = ()
    for name, value in found:
        text = "\n".join(value).strip()
        if fields.get(name, text) != text:
            misfits += (Misfit(name, _GIVEN_TWICE, 1, f"'{fields[name]}'"),)
        fields[name] = text
    return fields, misfits


def _with_molfile(
    fields: dict[str, Property], misfits: tuple[Misfit, ...], mol: Chem.Mol, molblock: str
) -> tuple[dict[str, Property], tuple[Misfit, ...]]:
    """The fields with what the molfile says: its title is the name, and its atoms' charges add up to the total."""
    title = mol.GetProp("_Name").strip()
    named = "name" if fields.get("name", title) == title else "title"
    properties: dict[str, Property] = {named: title, **fields} if title else fields
    if not ("M  CHG" in molblock or any(atom.GetFormalCharge() for atom in mol.GetAtoms())):
        return properties, misfits
    charge, said = Chem.GetFormalCharge(mol), str(fields.get(TOTAL_CHARGE, ""))
    if said and parse_number(said) != charge:
        misfits += (Misfit(TOTAL_CHARGE, CONTRADICTION, 1, f"'{said}'"),)
    return {**properties, TOTAL_CHARGE: charge}, misfits
