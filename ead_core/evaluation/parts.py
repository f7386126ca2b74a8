"""All parts of the evaluation card: a new one is a file of its own, and a line here."""

from collections.abc import Collection

from ead_core.evaluation.chemistry_and_cost import CHEMISTRY
from ead_core.evaluation.distances import GEOMETRY
from ead_core.evaluation.frechet import FCD
from ead_core.evaluation.gfn2 import GFN2
from ead_core.evaluation.part import Cost, Part
from ead_core.evaluation.plausibility import POSEBUSTERS, POSEBUSTERS_FULL
from ead_core.evaluation.strain import STRAIN

PARTS: dict[str, Part] = {
    part.name: part for part in (GEOMETRY, CHEMISTRY, POSEBUSTERS, POSEBUSTERS_FULL, STRAIN, GFN2, FCD)
}
DEFAULT_PARTS = tuple(name for name, part in PARTS.items() if part.default)


def chosen(names: Collection[str], *costs: Cost) -> list[Part]:
    """The parts of these names, in the order of the card; of these costs only, if any are given."""
    return [part for name, part in PARTS.items() if name in names and (not costs or part.cost in costs)]
