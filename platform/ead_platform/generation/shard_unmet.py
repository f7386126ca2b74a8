"""What a shard of a table says of its wishes that are not met, in the footer of its parquet file."""

import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ead_core.chemistry.identity import perceived_smiles
from ead_core.common.documents import parse_json
from ead_core.data.parquet import load_parquet, parquet_entries
from ead_core.data.store import MoleculeSet
from ead_core.prediction.predict import PREDICTED
from ead_core.sampling.matches import DISTANCE, MET, WISH
from ead_core.sampling.unmet import Unmet

PREDICTED_BY = "predicted_by"  # column: who has predicted
UNMET = "ead.unmet"  # of the footer: [row, reason, id, SMILES, distance, {property: predicted}] of each such wish


def unmet_entry(not_met: Sequence[Unmet]) -> dict[str, str]:
    """The entry of the footer, in the order of the rows."""
    rows = [
        [*each._replace(distance=each.distance if math.isfinite(each.distance) else None)]  # type: ignore[arg-type]
        for each in sorted(not_met, key=lambda each: each.wish)
    ]
    return {UNMET: json.dumps(rows)}


def read_unmet(parquet: bytes) -> list[Unmet] | None:
    """What a shard says of wishes that are not met, by row; None if it is no shard of a table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shard.parquet")
        path.write_bytes(parquet)
        told = parquet_entries(path).get(UNMET)
    if told is None:
        return None
    found = (Unmet(*row) for row in parse_json(told, UNMET))
    return [each if each.distance is not None else each._replace(distance=math.inf) for each in found]


def with_lost(not_met: Sequence[Unmet], molecules: MoleculeSet, refusals: Sequence[str]) -> list[Unmet]:
    """Wishes that are not met, with those whose molecules are refused, for which each has a reason or ''.

    Wishes whose molecules missed a range are among them already.
    """
    lost = [place for place, refusal in enumerate(refusals) if refusal and molecules.properties[MET][place]]
    return [*not_met, *(_unmet(molecules, place, refusals[place]) for place in lost)]


def _unmet(molecules: MoleculeSet, place: int, reason: str) -> Unmet:
    own = molecules[place]
    told = (name for name in own.known if name.startswith(PREDICTED) and not name.endswith(("_low", "_high")))
    predicted = {name.removeprefix(PREDICTED): own.known[name] for name in told if name != PREDICTED_BY}
    return Unmet(
        int(own.properties[WISH]),
        reason,
        int(own.properties["id"]),
        perceived_smiles([own])[0],
        float(own.properties[DISTANCE]),
        {name: float(value) for name, value in predicted.items()},
    )


def unmet_after(parquet: bytes, refusals: Sequence[str]) -> dict[str, str]:
    """The entry of a shard that loses molecules; none if it is no shard of a table."""
    if (before := read_unmet(parquet)) is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shard.parquet")
        path.write_bytes(parquet)
        molecules = load_parquet(path).molecules
    return unmet_entry(with_lost(before, molecules, refusals))
