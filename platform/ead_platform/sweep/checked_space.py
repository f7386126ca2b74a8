"""A space from a file, checked against a checkpoint before anything is computed: every value can occur in a trial."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna

from ead_core.config import Config, read_mapping, unknown_key
from ead_core.config.conditions import Condition
from ead_core.config.reference import entries
from ead_core.errors import ConfigError
from ead_core.notes import note
from ead_platform.sweep.space import Choice, Parameter, Point, Space, parse_parameter
from ead_platform.sweep.study import SYNCHRONOUS, Campaign

RATIO = "sampler.async_ratio"
PAPER = {RATIO: 0.2, "sampler.history_window": 2}
REFERENCE_POINTS: list[dict[str, Any]] = [
    {"sampler.policy": "adaptive", "sampler.pause_mode": "repeat", "sampler.history_window": 2, **point}
    for point in (SYNCHRONOUS, PAPER)
]
FIXED = ("sampler.batch_size", "sampler.memory_budget", "sampler.precision")
WITHOUT_PART = ("composition", "formula_", "property_", "branch", "pruning_", "repair_")  # of keys that no trial uses
GUIDED = {"sampler.guidance", "sampler.guidance_levels"}  # keys that act only with targets
ATTEMPTS = 40  # points that are drawn to find one which allows a value


def load_space(path: Path, campaign: Campaign) -> Space:
    """The space in a YAML file (ConfigError that names the file, and what in it is wrong)."""
    return check_space(read_mapping(path, "a parameter per sampler key"), campaign, str(path))


def check_space(content: Mapping[str, Any], campaign: Campaign, source: str = "the search space") -> Space:
    """A space whose keys, values and conditions fit the settings and the checkpoint.

    It is completed by the values of the reference points. Keys whose conditions the recipe of the checkpoint itself
    does not meet are left out, and every key has, besides its own, the conditions under which it has an effect.

    Args:
        content: as from YAML (space.py).
        campaign: whose trials will have the points.
        source: what the space is called in errors.

    Raises:
        ConfigError: it is empty; a key is unknown or must not differ; a value is outside of a key's range, or possible
            in no trial; a condition is on an unknown key.
    """
    try:
        if not content:
            raise ConfigError(
                "it is empty; it needs a parameter per sampler key, e.g. sampler.async_ratio: [0.1, 0.2]."
            )
        parameters = {key: _parameter(key, written) for key, written in content.items()}
        space = _bound(_completed(parameters, campaign), campaign)
        _require_effects(space)
        for key, parameter in space.parameters.items():
            first, *others = parameter.marks()
            for value in (first, *others[::-1]):  # the ends of a range before what lies between
                if refused := _refusal(space, campaign, key, value):
                    raise ConfigError(refused)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    return space


def reference_points(space: Space) -> list[dict[str, Any]]:
    """The synchronous baseline and the paper's setting, as far as the space has them."""
    return [point for wanted in REFERENCE_POINTS if (point := space.point(wanted)) is not None]


def _parameter(key: str, written: object) -> Parameter:
    known = entries(Config)
    if key not in known:
        raise ConfigError(unknown_key(key, [name for name in known if name.startswith("sampler.")]))
    if known[key].section != "sampler":
        raise ConfigError(f"{key} must be a sampler key: nothing is trained in a trial.")
    if key in FIXED:
        raise ConfigError(f"{key} must be the same in all trials, which share their start.")
    if known[key].name.startswith(WITHOUT_PART):
        raise ConfigError(f"{key} has no part in a trial, which neither repairs nor predicts nor keeps a formula.")
    parameter = parse_parameter(key, written)
    for condition in parameter.conditions:
        if condition.key not in known:
            raise ConfigError(f"{key}: the condition on '{condition.key}': {unknown_key(condition.key, known)}")
    return parameter


def _completed(parameters: dict[str, Parameter], campaign: Campaign) -> dict[str, Parameter]:
    """With the key of the baseline, and lists of choices with those of the reference points."""
    if RATIO not in parameters:
        parameters = {RATIO: Choice(type="choice", choices=[campaign.own[RATIO]]), **parameters}
    return {key: _with_references(key, parameter) for key, parameter in parameters.items()}


def _with_references(key: str, parameter: Parameter) -> Parameter:
    if not isinstance(parameter, Choice):
        return parameter
    wanted = dict.fromkeys(point[key] for point in REFERENCE_POINTS if key in point)
    lacking = [value for value in wanted if value not in parameter.choices]
    return parameter.model_copy(update={"choices": parameter.choices + lacking})


def _bound(parameters: dict[str, Parameter], campaign: Campaign) -> Space:
    """The parameters in the order of their conditions, without those that the recipe or the request rules out."""
    known, own = entries(Config), campaign.own
    possible = {
        key: parameter
        for key, parameter in parameters.items()
        if all(each.key in parameters or each.met(own[each.key]) for each in parameter.conditions)
    }
    if not campaign.targets and campaign.checkpoint.statistics.properties:
        for key in GUIDED & possible.keys():
            note(f"{key} is left out: without --target there is nothing to be guided to.")
            del possible[key]
    conditions = {key: (*possible[key].conditions, *known[key].conditions) for key in possible}
    return Space({key: possible[key] for key in _ordered(possible, conditions)}, conditions, own)


def _ordered(keys: Iterable[str], conditions: Mapping[str, tuple[Condition, ...]]) -> list[str]:
    """The keys, each after those that its conditions name (ConfigError if these go round in a circle)."""
    left, ordered = list(keys), []
    while left:
        ready = [key for key in left if not any(each.key in left for each in conditions[key])]
        if not ready:
            raise ConfigError(f"the conditions of {' and '.join(left)} go round in a circle.")
        ordered.append(ready[0])
        left.remove(ready[0])
    return ordered


def _require_effects(space: Space) -> None:
    """ConfigError for a key that no value of the other keys gives an effect."""
    for key in space.keys:
        for condition in space.conditions[key]:
            other = space.parameters.get(condition.key)
            if not any(map(condition.met, other.marks() if other else [space.own[condition.key]])):
                raise ConfigError(f"{key} has no effect in any trial; it needs {condition}.")


def _refusal(space: Space, campaign: Campaign, key: str, value: Any) -> str | None:
    """Why no trial can have a value; None if one can.

    Raises:
        ConfigError: the value is outside the key's own range.
    """
    campaign.checkpoint.config.override({key: value})
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    reason: str | None = f"{key}={value} is in no trial, since its conditions are never met together."
    for _ in range(ATTEMPTS):
        study.enqueue_trial({key: value})
        point: Point = space.suggest(study.ask())
        if key in point:
            reason = campaign.refusal(point)
            if reason is None:
                return None
    return reason
