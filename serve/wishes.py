"""A table of wishes in the body of a request: its rows, and what goes with `match`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ead_core.data.target_tables import SIZE_COLUMN
from ead_core.data.targets import TargetError, Targets
from ead_core.errors import ConfigError
from ead_core.sampling.order import MatchOrder
from ead_core.sampling.requests import Request
from serve.fields import MOST_TARGETS, AtomRange
from serve.refusals import Location, RefusalError
from serve.schema import Wanted

Row = Mapping[str, float | Sequence[float] | None]


def match_order(wanted: Wanted) -> MatchOrder | None:
    """How the rows of a body are to be matched; None if they are not (RefusalError: fields that do not go together)."""
    rows = isinstance(wanted.targets, list)
    if not wanted.match:
        _refuse_if(rows, "targets", "must be an object, which all molecules share; a list of wishes needs match.")
        _refuse_if(wanted.pool is not None, "pool", "needs match, which matches molecules with the rows of targets.")
        return None
    _refuse_if(not rows, "targets", 'must be a list where match is given, a row per wish, e.g. [{"gap": 6500}].')
    for key in ("num", "until"):
        given = key in wanted.model_fields_set and getattr(wanted, key) is not None
        _refuse_if(given, key, "must be left out where match is given, which delivers a molecule per row of targets.")
    text = wanted.format != "json"
    _refuse_if(text, "format", "must be json where match is given; only there wishes without a molecule have a place.")
    try:
        return MatchOrder.of(wanted.accept, wanted.pool, wanted.max_attempts)
    except ConfigError as error:
        raise RefusalError(("body", "pool"), str(error)) from error


def _refuse_if(wrong: bool, key: str, sentence: str) -> None:
    if wrong:
        raise RefusalError(("body", key), sentence)


def table_of(rows: Sequence[Row], sizes: AtomRange | None, most: int) -> Targets:
    """The rows of a body as the core's table.

    Args:
        rows: the wishes.
        sizes: atoms that molecules may be asked for; None if the model decides their number by itself.
        most: rows that are served at once.

    Raises:
        RefusalError: no row, too many rows or properties, or a size that cannot be asked for.
    """
    _refuse_if(not 1 <= len(rows) <= most, "targets", f"must have between 1 and {most} rows, not {len(rows)}.")
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != SIZE_COLUMN]
    many = f"must name at most {MOST_TARGETS} properties in all rows, not {len(names)}."
    _refuse_if(len(names) > MOST_TARGETS, "targets", many)
    columns = {name: [row.get(name) for row in rows] for name in names}
    table = Targets.of_columns(columns) if columns else Targets((), ((),) * len(rows))
    fixed = tuple(_size(row.get(SIZE_COLUMN), number, sizes) for number, row in enumerate(rows))
    return replace(table, sizes=fixed if any(fixed) else ())


def _size(asked: float | Sequence[float] | None, row: int, sizes: AtomRange | None) -> int | None:
    """The number of atoms that a row asks for, None if it is open (RefusalError: no such number)."""
    if asked is None:
        return None
    place = ("body", "targets", row, SIZE_COLUMN)
    if sizes is None:
        raise RefusalError(place, "must be left out, since this model decides sizes by itself.")
    if not isinstance(asked, int | float) or asked != int(asked) or not sizes.smallest <= asked <= sizes.largest:
        accepted = f"must be a number of atoms between {sizes.smallest} and {sizes.largest}, as in training"
        raise RefusalError(place, f"{accepted}, not {asked}.")
    return int(asked)


def with_each_size(request: Request) -> Request:
    """A request for a molecule of each row in each of the sizes, since later rounds may bring any two together."""
    if request.targets is None or not isinstance(request.sizes, tuple):
        return request
    sizes = tuple(sorted(set(request.sizes)))
    num = len(request.targets.rows) * len(sizes)
    return replace(request, num=num, sizes=sizes, targets=request.targets.each(len(sizes)))


def place_of_target(error: TargetError, targets: object) -> Location:
    """Where in a body a target stands that cannot be met."""
    if not isinstance(targets, list) or not error.property:
        return ("body", "targets", *filter(None, [error.property]))
    naming = (number for number, row in enumerate(targets) if error.property in row)
    row = next(naming) if error.row is None else error.row
    return "body", "targets", row, error.property
