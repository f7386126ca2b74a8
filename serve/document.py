"""The OpenAPI document of one service: what this model and these limits accept, not what any might."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ead_core.config import Config
from ead_core.config.reference import entries
from ead_core.data.properties import count_name, counted_element
from ead_core.data.targets import LARGEST
from ead_core.diffusion.posterior import SOLVERS
from serve.limits import Border
from serve.schema import MOST_SIZES

JsonSchema = dict[str, Any]
SYNCHRONOUS = "synchronous"  # the one policy of a model that was trained with equal levels
NEED_TARGETS = ("guidance", "property_", "branch", "pruning")  # how keys of the sampler begin that are about targets
LARGEST_EXACT = 2**53 - 1  # many programs round the integers beyond in JSON, so the document does not offer them


def tailored(document: JsonSchema, border: Border) -> JsonSchema:
    """The document with the ranges of the service in it, and without what its model does not take."""
    document = deepcopy(document)
    schemas = document["components"]["schemas"]
    _tailor_request(schemas["MoleculesRequest"], border)
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
    _not_null(fields["timeout"])["maximum"] = settings.max_seconds
    if not border.checkpoint.config.diffusion.interval:
        schema["examples"] = [example for example in schema["examples"] if "sampler" not in example]
    if border.checkpoint.atom_types.has_dummies:
        del fields["sizes"], fields["size_range"]
    else:
        size = {"type": "integer", "minimum": sizes.smallest, "maximum": sizes.largest}
        most = min(MOST_SIZES, settings.max_molecules)
        _not_null(fields["sizes"]).update(minItems=1, maxItems=most, items=size)
        kinds = {"sizes": {"type": "array"}, "size_range": {"type": "object"}}
        schema["not"] = {"properties": kinds, "required": list(kinds)}
    properties = border.checkpoint.statistics.properties
    if not properties and border.checkpoint.atom_types.has_dummies:
        del fields["targets"]
        return
    targets = _not_null(fields["targets"])
    targets.pop("propertyNames", None)
    accepted = {name: _target(name, sizes.largest) for name in properties}
    if not properties:  # it takes whole formulas
        accepted = {name: _atoms(sizes.largest) for name in map(count_name, border.checkpoint.atom_types.numbers)}
        targets["required"] = list(accepted)
    targets |= {"additionalProperties": False, "properties": accepted}


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
