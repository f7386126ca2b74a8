"""The OpenAPI document of one service: what this model and these limits accept, not what any might."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ead_core.config import Config
from ead_core.config.reference import entries
from ead_core.data.properties import count_name, counted_element
from ead_core.data.target_tables import SIZE_COLUMN
from ead_core.data.targets import LARGEST
from ead_core.diffusion.posterior import SOLVERS
from serve.fields import MOST_SIZES, MOST_WISHES
from serve.limits import Border

JsonSchema = dict[str, Any]
SYNCHRONOUS = "synchronous"  # the one policy of a model that was trained with equal levels
NEED_TARGETS = ("guidance", "property_", "branch", "pruning")  # how keys of the sampler begin that are about targets
LARGEST_EXACT = 2**53 - 1  # many programs round the integers beyond in JSON, so the document does not offer them


def tailored(document: JsonSchema, border: Border, of_jobs: Border) -> JsonSchema:
    """The document with the ranges of the service in it, and without what its model does not take.

    Args:
        document: as FastAPI makes it of the routes.
        border: of requests.
        of_jobs: of jobs.
    """
    document = deepcopy(document)
    schemas = document["components"]["schemas"]
    _tailor_request(schemas["MoleculesRequest"], border)
    _tailor_request(schemas["JobRequest"], of_jobs)
    known = sorted(border.checkpoint.statistics.sizes)
    schemas["AtomRange"]["anyOf"] = [
        {"properties": {"smallest": {"maximum": size}, "largest": {"minimum": size}}} for size in known
    ]
    _tailor_sampler(schemas["SamplerSettings"]["properties"], border)
    return document


def _tailor_request(schema: JsonSchema, border: Border) -> None:
    fields, settings, sizes = schema["properties"], border.settings, border.sizes
    fields["num"] |= {"minimum": 1, "maximum": settings.max_molecules}
    fields["seed"]["maximum"] = LARGEST_EXACT
    _not_null(fields["until"])["maximum"] = settings.max_molecules
    _not_null(fields["max_attempts"])["maximum"] = settings.max_request_calls
    if "timeout" in fields:
        _not_null(fields["timeout"])["maximum"] = settings.max_seconds
    schema["examples"] = [example for example in schema["examples"] if _fits(example, border)]
    if border.checkpoint.atom_types.has_dummies:
        del fields["sizes"], fields["size_range"]
    else:
        size = {"type": "integer", "minimum": sizes.smallest, "maximum": sizes.largest}
        most = min(MOST_SIZES, settings.max_molecules)
        _not_null(fields["sizes"]).update(minItems=1, maxItems=most, items=size)
        kinds = {"sizes": {"type": "array"}, "size_range": {"type": "object"}}
        schema["not"] = {"properties": kinds, "required": list(kinds)}
    _tailor_targets(fields, border)


def _tailor_targets(fields: JsonSchema, border: Border) -> None:
    """Targets of all molecules, and those of a row, which may be open and have a size."""
    known, decides = border.checkpoint.statistics.properties, border.checkpoint.atom_types.has_dummies
    most = border.sizes.largest
    if not known and decides:
        for key in ("targets", "match", "pool"):
            del fields[key]
        return
    _not_null(fields["pool"])["maximum"] = border.settings.max_request_calls
    shared, rows = fields["targets"]["anyOf"][:2]
    accepted, required = {name: _target(name, most) for name in known}, {}
    if not known:  # it takes whole formulas
        accepted = {name: _atoms(most) for name in map(count_name, border.checkpoint.atom_types.numbers)}
        required = {"required": list(accepted)}
    size = {} if decides else {SIZE_COLUMN: _atoms(most) | {"minimum": border.sizes.smallest}}
    cells = {
        name: {"anyOf": [*each.get("anyOf", [each]), {"type": "null"}]} for name, each in (accepted | size).items()
    }
    for kind, properties in ((shared, accepted), (rows["items"], cells)):
        kind.pop("propertyNames", None)
        kind |= {"additionalProperties": False, "properties": properties, **required}
    rows |= {"minItems": 1, "maxItems": min(MOST_WISHES, border.settings.max_molecules)}


def _fits(example: Mapping[str, Any], border: Border) -> bool:
    """Whether an example may be sent to this model."""
    targets = example.get("targets", [])
    names = {name for row in (targets if isinstance(targets, list) else [targets]) for name in row}
    policies = border.checkpoint.config.diffusion.interval or "sampler" not in example
    return bool(policies) and names <= set(border.checkpoint.statistics.properties)


def _tailor_sampler(fields: JsonSchema, border: Border) -> None:
    config = border.checkpoint.config
    _not_null(fields["sampler.steps"])["maximum"] = config.diffusion.steps
    if config.diffusion.interval:
        _not_null(fields["sampler.interval"])["maximum"] = 2 * config.diffusion.interval
    else:
        fields["sampler.policy"]["enum"] = [SYNCHRONOUS]
    if not config.network.self_conditioning:
        solvers = fields["sampler.solver"]["enum"]
        fields["sampler.solver"]["enum"] = [solver for solver in solvers if not SOLVERS[solver].iterates]
    settled = {key: value for key, value in config.flat().items() if not key.startswith("sampler.")}
    if not config.diffusion.interval:
        settled["sampler.policy"] = SYNCHRONOUS
    for key in [key for key in fields if not _has_effect(key, settled)]:
        del fields[key]
    if not border.checkpoint.statistics.properties:
        for key in [key for key in fields if key.removeprefix("sampler.").startswith(NEED_TARGETS)]:
            del fields[key]


def _has_effect(key: str, settled: Mapping[str, Any]) -> bool:
    """Whether a key can have an effect with what is settled, whatever the other keys of the request are."""
    return all(each.met(settled[each.key]) for each in entries(Config)[key].conditions if each.key in settled)


def _target(name: str, most_atoms: int) -> JsonSchema:
    """A value or two of a property; atoms are counted in whole numbers."""
    number: JsonSchema = {"type": "number", "exclusiveMinimum": -LARGEST, "exclusiveMaximum": LARGEST}
    if counted_element(name) is not None:
        number = _atoms(most_atoms)
    pair = {"type": "array", "items": number, "minItems": 2, "maxItems": 2, "description": "From low to high."}
    return {"anyOf": [number, pair]}


def _atoms(most: int) -> JsonSchema:
    return {"type": "integer", "minimum": 0, "maximum": most}


def _not_null(field: JsonSchema) -> JsonSchema:
    """The schema of a field that may also be null."""
    found: JsonSchema = next(kind for kind in field["anyOf"] if kind.get("type") != "null")
    return found
