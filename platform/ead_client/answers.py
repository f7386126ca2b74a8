"""Molecules that a service has made, as plain values, RDKit molecules or a table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from ead_client.errors import ClientError

if TYPE_CHECKING:
    import pandas as pd
    from rdkit import Chem


@dataclass(frozen=True)
class Molecule:
    """One molecule.

    Attributes:
        id: names it, together with the seed.
        smiles: of the perceived molecule; None if its bonds cannot be perceived.
        elements: symbols of the N atoms.
        positions: N rows of x, y, z in Å.
        sdf: its record of an SDF.
        nfe: network calls that it took.
        targets: what was asked for, by property.
        predicted: what the selector says of the properties asked for.
        wish: the row of a table that it is for, from 1; None if there is no table.
        distance: how far it is from that row.
        warning: what of the targets lies outside of training; None if nothing.
    """

    id: int
    smiles: str | None
    elements: list[str]
    positions: list[list[float]]
    sdf: str
    nfe: int
    targets: Mapping[str, float | None] = field(default_factory=dict)
    predicted: Mapping[str, float | None] = field(default_factory=dict)
    wish: int | None = None
    distance: float | None = None
    warning: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Molecule":
        """From an answer; what a later service says more is left out (ClientError: something is missing)."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        try:
            return cls(**known)
        except TypeError as error:
            raise ClientError("The answer has molecules of another form; is the service of this version?") from error

    def rdkit(self) -> "Chem.Mol":
        """RDKit's molecule, all hydrogens and the geometry included (ClientError: RDKit cannot read it)."""
        from rdkit import Chem

        mol = Chem.MolFromMolBlock(self.sdf, removeHs=False) or Chem.MolFromMolBlock(
            self.sdf, removeHs=False, sanitize=False
        )
        if mol is None:
            raise ClientError(f"RDKit cannot read the record of molecule {self.id}.")
        return mol


class Molecules(Sequence[Molecule]):
    """The molecules of an answer, in their order.

    Args:
        molecules: of the answer, or of several.
        about: the rest of the answer: `model`, `ledger`, `unmet`, `diverged`, `passport`.
    """

    def __init__(self, molecules: Sequence[Molecule], about: Mapping[str, Any]) -> None:
        self._molecules, self.about = list(molecules), dict(about)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Molecules":
        """From an answer in JSON."""
        about = {name: value for name, value in answer.items() if name not in ("molecules", "next")}
        return cls([Molecule.of(values) for values in answer.get("molecules", [])], about)

    @property
    def ledger(self) -> Mapping[str, Any] | None:
        """What became of all attempts; None if all were delivered."""
        return self.about.get("ledger")

    @property
    def unmet(self) -> list[Mapping[str, Any]]:
        """The rows of a table that got no molecule, each with `wish` and `reason`."""
        return list(self.about.get("unmet") or [])

    @overload
    def __getitem__(self, place: int) -> Molecule: ...
    @overload
    def __getitem__(self, place: slice) -> "Molecules": ...
    def __getitem__(self, place: int | slice) -> "Molecule | Molecules":
        if isinstance(place, slice):
            return Molecules(self._molecules[place], self.about)
        return self._molecules[place]

    def __len__(self) -> int:
        return len(self._molecules)

    def __iter__(self) -> Iterator[Molecule]:
        return iter(self._molecules)

    def rdkit(self) -> "list[Chem.Mol]":
        """RDKit's molecules, all hydrogens and geometries included."""
        return [molecule.rdkit() for molecule in self]

    def sdf(self) -> str:
        """All records, to be written into a file."""
        return "".join(molecule.sdf for molecule in self)

    def frame(self) -> "pd.DataFrame":
        """A row per molecule: id, smiles, nfe, elements, positions, `target_…` and `predicted_…`; wish and distance."""
        import pandas as pd

        rows = []
        for each in self:
            row: dict[str, Any] = {"id": each.id, "smiles": each.smiles, "nfe": each.nfe}
            row |= {f"target_{name}": value for name, value in each.targets.items()}
            row |= {f"predicted_{name}": value for name, value in each.predicted.items()}
            if each.wish is not None:
                row |= {"wish": each.wish, "distance": each.distance}
            rows.append({**row, "elements": each.elements, "positions": each.positions})
        return pd.DataFrame(rows, columns=None if rows else ["id", "smiles", "nfe", "elements", "positions"])
