"""SDF, plain or `.gz`: many molfiles (V2000 or V3000) with data fields, through RDKit."""

import contextlib
import functools
import gzip
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
from rdkit import Chem, rdBase

from ead_core.data.columns import TEXT_PROPERTIES
from ead_core.data.records import Property, Record, Unparsed, attempt, records_of
from ead_core.data.store import MoleculeSet
from ead_core.data.texts import too_long
from ead_core.errors import DataError
from ead_core.files import write_aside
from ead_core.limits import RECORD

_END = "$$$$"
_INTEGER = re.compile(r"[+-]?\d{1,18}")  # longer ones do not fit into 64 bits


def unparsed_sdf(name: str, lines: Iterable[str]) -> Iterator[Unparsed]:
    """Molecules of the lines of an SDF or molfile, before they are parsed, which takes most of the time.

    Atoms and 3D coordinates are as written; the data fields become properties.
    """
    for number, (line, text) in enumerate(_record_texts(name, lines), start=1):
        told = f"{name}, molecule {number} (line {line})"
        yield functools.partial(attempt, told, functools.partial(_record, text))


def _record_texts(name: str, lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """First line number and text of each record.

    RDKit's own reader of whole files loses count after an empty record, so that records are cut here.
    """
    record: list[str] = []
    room = RECORD
    for number, line in enumerate(lines, start=1):
        record.append(line)
        room -= len(line)
        if room < 0:
            raise DataError(too_long(name, number - len(record) + 1))
        if line.startswith(_END):
            room = RECORD
            yield number - len(record) + 1, "".join(record)
            record = []
    if "".join(record).strip():  # the last record may lack its end mark
        yield number - len(record) + 1, "".join(record)


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


def write_sdf(molecules: MoleculeSet, path: Path) -> None:
    """Write every molecule with the bonds perceived from its geometry and its known scalar properties."""
    with rdBase.BlockLogs(), write_aside(path) as aside, _open_for_writing(aside) as file:
        writer = Chem.SDWriter(file)
        writer.SetKekulize(False)  # done below, where it may fail
        for record in records_of(molecules):
            writer.write(_to_mol(record))
        writer.close()


def _to_mol(record: Record) -> Chem.Mol:
    from ead_core.metrics.chemistry import to_rdkit

    mol = to_rdkit(record.charges, record.positions)
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(True)  # every hydrogen is an atom of its own
    mol.UpdatePropertyCache(strict=False)
    # What has no Kekulé structure is written all the same, with its aromatic bonds.
    with contextlib.suppress(Chem.MolSanitizeException):
        Chem.Kekulize(mol, clearAromaticFlags=True)
    for name, value in record.properties.items():
        mol.SetProp(name, str(value))
    return mol


@contextlib.contextmanager
def _open_for_writing(path: Path) -> Iterator[TextIO]:
    if path.suffix.lower() != ".gz":
        with path.open("w", encoding="utf-8") as file:
            yield file
        return
    # Neither time nor name in the header: equal molecules make equal files.
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8") as file,
    ):
        yield file
