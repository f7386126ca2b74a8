"""Reading SDF, plain or `.gz`: many molfiles (V2000 or V3000) with data fields, through RDKit."""

import contextlib
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rdkit import Chem, rdBase

from ead_core.data.records import TEXT_PROPERTIES, Outcome, Property, Record, Unparsed, attempt
from ead_core.data.texts import open_text
from ead_core.errors import DataError

_END = "$$$$"
_INTEGER = re.compile(r"[+-]?\d{1,18}")  # longer ones do not fit into 64 bits


def read_sdf(path: Path) -> Iterator[Outcome]:
    """Molecules of an SDF file: atoms and 3D coordinates as written, and the data fields."""
    return (parse() for parse in unparsed_sdf(path))


def unparsed_sdf(path: Path) -> Iterator[Unparsed]:
    """The same before they are parsed, which takes most of the time."""
    for number, (line, text) in enumerate(_record_texts(path), start=1):
        name = f"{path.name}, molecule {number} (line {line})"
        yield functools.partial(attempt, name, functools.partial(_record, text))


def _record_texts(path: Path) -> Iterator[tuple[int, str]]:
    """First line number and text of each record.

    RDKit's own reader of whole files loses count after an empty record, so that records are cut here.
    """
    lines: list[str] = []
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            lines.append(line)
            if line.startswith(_END):
                yield number - len(lines) + 1, "".join(lines)
                lines = []
    if "".join(lines).strip():  # the last record may lack its end mark
        yield number - len(lines) + 1, "".join(lines)


def _record(text: str) -> Record:
    if not text.replace(_END, "").strip():
        raise DataError("it is empty.")
    supplier = Chem.SDMolSupplier()
    supplier.SetData(text, sanitize=False, removeHs=False)
    with rdBase.CaptureErrorLog() as log:
        mol = next(iter(supplier), None)
    if mol is None:
        raise DataError(f"RDKit cannot parse it ({_last_error(log.messages)}).")
    charges = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64)
    if len(charges) and not mol.GetConformer().Is3D():
        raise DataError("it has no 3D coordinates.")
    positions = mol.GetConformer().GetPositions() if len(charges) else np.zeros((0, 3))
    return Record(charges, positions, _fields(mol))


def _last_error(log: str) -> str:
    """RDKit's own sentence, without its time stamp and the line that only says that it goes on."""
    errors = [line.split("ERROR:", 1)[1].strip() for line in log.splitlines() if "ERROR:" in line]
    return next((error for error in errors if not error.startswith("moving to")), "no molfile")


def _fields(mol: Chem.Mol) -> dict[str, Property]:
    fields: dict[str, Property] = {}
    for name in mol.GetPropNames():
        text = mol.GetProp(name).strip()
        known_text = name.lower() if name.lower() in TEXT_PROPERTIES else None
        fields[known_text or name] = text if known_text else _number_or_text(text)
    return fields


def _number_or_text(text: str) -> Property:
    if _INTEGER.fullmatch(text):
        return int(text)
    with contextlib.suppress(ValueError):
        return float(text)
    return text
