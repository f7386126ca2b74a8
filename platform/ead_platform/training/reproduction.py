"""Repeating a training that MLflow knows, and checking whether the repetition agrees with it.

Training draws its random numbers from counters, and an interruption changes nothing. So a finished run can be
repeated bit for bit with the same code, versions, processors, number of workers and threads; with others the sums are
rounded differently.
"""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from safetensors.torch import load_file
from torch import Tensor

from ead_core.checkpoints.checkpoint import WEIGHTS
from ead_core.config import parse_overrides, read_mapping, validate
from ead_core.data.dataset import file_sha256, resolve_data_path
from ead_core.errors import ConfigError, DataError, EADError
from ead_platform.cluster.settings import Settings
from ead_platform.tracking.curves import is_quality
from ead_platform.tracking.provenance import (
    DATA_TAG,
    GIT_COMMIT,
    GIT_DIRTY,
    INITIAL_TAG,
    VERSION_TAG,
    code_tags,
    initial_sha256,
    versions,
)
from ead_platform.tracking.runs import CHECKPOINT, find_training
from ead_platform.tracking.store import lossy, open_store
from ead_platform.training.recipe import Recipe
from ead_platform.training.tracking import CARD, CHANGED, RECIPE

ROUNDING = 1e-4  # of the largest weight of a tensor: up to here a difference counts as rounding
FREE = ("data.path", "training.initial", "training.max_seconds", "training.checkpoint_seconds", "training.threads")
WHERE = (
    "platform."  # this section and the keys above change no figure, except by rounding; of files the hash is compared
)
MOST_SHOWN, TINIEST = 5, 1e-30
TIMES = ("seconds", "seconds_low", "seconds_high")  # of a card: no two runs take the same


@dataclass(frozen=True)
class Original:
    """A run that is to be repeated.

    Attributes:
        run_id: in MLflow.
        name: in MLflow.
        recipe: with the paths of the machine on which it ran.
        tags: what it rests on (provenance.py).
    """

    run_id: str
    name: str
    recipe: Recipe
    tags: Mapping[str, str]


def find_original(settings: Settings, run: str) -> Original:
    """The training with this id or name, if it can be repeated.

    Raises:
        EADError: there is none or more than one, it did not reach its last step, or it was continued with other
            settings.
    """
    with open_store(settings) as (client, experiment):
        found = find_training(client, experiment, run)
        if found is None:
            raise EADError(f"MLflow knows no training '{run}'; --reproduce takes the name or the id of one.")
        _require_finished(client, found, run)
        with tempfile.TemporaryDirectory() as folder:
            content = read_mapping(Path(client.download_artifacts(found.info.run_id, RECIPE, folder)), "a recipe")
    recipe: Recipe = validate(Recipe, content)
    return Original(found.info.run_id, str(found.info.run_name), recipe, found.data.tags)


def _require_finished(client: MlflowClient, found: Run, run: str) -> None:
    """EADError unless the run went to its last step under the settings that it began with."""
    changed = [tag.removeprefix(CHANGED) for tag in found.data.tags if tag.startswith(CHANGED)]
    decisive = [name for name in changed if name == DATA_TAG or (name in found.data.params and not _is_free(name))]
    if decisive:
        raise EADError(f"{run} was continued with another {decisive[0]}, so that no single recipe repeats it.")
    reached = max((metric.step for metric in client.get_metric_history(found.info.run_id, "epoch")), default=0)
    wanted = int(found.data.params["training.steps"])
    if reached < wanted or found.info.status != "FINISHED":
        raise EADError(
            f"{run} ended at step {reached} of {wanted} ({found.info.status}); continue it before repeating it."
        )


def _is_free(key: str) -> bool:
    """Whether a repetition may have another value."""
    return key in FREE or key.startswith(WHERE)


def repeated(original: Original, overrides: Sequence[str], settings: Settings) -> Recipe:
    """The recipe that repeats a run, beside it in the storage, as `NAME-reproduced`.

    Args:
        original: the run.
        overrides: `key=value`, of what changes no figure.
        settings: of this machine.

    Raises:
        ConfigError: an override that would make another training of it, or put it in the place of the run.
        DataError: the data file, or the checkpoint that the run started from, is missing or has another content.
    """
    changes = parse_overrides(overrides)
    for key in changes:
        if not _is_free(key):
            raise ConfigError(
                f"--reproduce repeats the settings of a run; it takes {WHERE}* and {', '.join(FREE)}, not {key}."
            )
    name = f"{original.name}-reproduced"
    recipe = original.recipe.override({"platform.name": name, "training.max_seconds": None, **changes})
    recipe = recipe.located(name, settings)
    if recipe.place == original.recipe.place:
        raise ConfigError(f"{recipe.place} is the place of the run itself; choose another platform.name.")
    _require_same(recipe.data.path, file_sha256(resolve_data_path(recipe.data.path)), original.tags.get(DATA_TAG))
    _require_same(str(recipe.training.initial), initial_sha256(recipe), original.tags.get(INITIAL_TAG))
    return recipe


def _require_same(file: str, now: str | None, then: str | None) -> None:
    if now != then:
        raise DataError(f"{file} is not what the run was trained on: its SHA-256 is {now}, and was {then}.")


def other_code(original: Original) -> Iterator[str]:
    """What of code and versions differs from then, in words."""
    now = {**versions(), **code_tags()}
    for tag in (GIT_COMMIT, *(tag for tag in now if tag.startswith(VERSION_TAG))):
        if now.get(tag) != original.tags.get(tag):
            yield f"{original.name} ran with {tag} {original.tags.get(tag)}; here it is {now.get(tag)}."
    if original.tags.get(GIT_DIRTY) == "True":
        yield f"{original.name} ran with uncommitted changes; its artifact uncommitted.diff has those of files in git."


@dataclass(frozen=True)
class RepetitionVerdict:
    """Whether a repetition agrees with the original.

    Attributes:
        weights: largest difference of a weight, relative to the largest of its tensor; infinite for other tensors.
        figures: those of quality that differ: name and step, values of the original and of the repetition.
        compared: how many figures were compared.
    """

    weights: float
    figures: Mapping[tuple[str, int], tuple[float, float]]
    compared: int

    @property
    def agrees(self) -> bool:
        """Exactly, or within rounding."""
        return 0 < self.weights <= ROUNDING or (self.weights == 0 and not self.figures)

    @property
    def sentence(self) -> str:
        """The verdict as one sentence."""
        if self.weights == 0 and not self.figures:
            return f"agrees exactly: all weights and {self.compared} figures of quality"
        changed = [
            f"{name} at step {step} is {now:g}, was {then:g}" for (name, step), (then, now) in self.figures.items()
        ]
        more = [f"and {len(changed) - MOST_SHOWN} more"] if len(changed) > MOST_SHOWN else []
        others = "; ".join([f"weights by up to {self.weights:.1e} of the largest", *changed[:MOST_SHOWN], *more])
        return f"agrees within rounding {self.weights:.1e}: {others}" if self.agrees else f"differs: {others}"


def judge(settings: Settings, original: Original, run_id: str) -> RepetitionVerdict:
    """Compare a finished repetition with its original, and record the verdict in both runs.

    Raises:
        EADError: the store cannot be used, or holds no weights of one of them.
    """
    with open_store(settings) as (client, _):
        weights = _difference(_weights(client, original.run_id), _weights(client, run_id))
        then, now = _quality(client, original.run_id), _quality(client, run_id)
        common = sorted(then.keys() & now.keys())
        verdict = RepetitionVerdict(weights, {k: (then[k], now[k]) for k in common if then[k] != now[k]}, len(common))
    with lossy("the verdict", settings.tracking_uri):
        client.set_tag(run_id, "ead.reproduces", original.run_id)
        client.set_tag(run_id, "ead.verdict", verdict.sentence)
        client.log_metric(run_id, "reproduction/weights_difference", verdict.weights)
        client.set_tag(original.run_id, f"ead.reproduced_by.{run_id}", verdict.sentence)
    return verdict


def _weights(client: MlflowClient, run_id: str) -> dict[str, Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        return load_file(client.download_artifacts(run_id, f"{CHECKPOINT}/{WEIGHTS}", folder))


def _difference(then: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> float:
    """The largest, relative to the largest weight of the tensor; computed in float64."""
    if {name: w.shape for name, w in then.items()} != {name: w.shape for name, w in now.items()}:
        return math.inf
    largest = 0.0
    for name, before in then.items():
        gap = float((before.double() - now[name].double()).abs().max())
        largest = max(largest, gap and gap / max(float(before.double().abs().max()), TINIEST))
    return largest


def _quality(client: MlflowClient, run_id: str) -> dict[tuple[str, int], float]:
    """Values by name and step of what depends on the weights alone; losses are means over windows of time."""
    names = [n for n in client.get_run(run_id).data.metrics if is_quality(n) or _is_of_card(n)]
    return {(n, metric.step): metric.value for n in names for metric in client.get_metric_history(run_id, n)}


def _is_of_card(name: str) -> bool:
    return name.startswith(f"{CARD}/") and name.removeprefix(f"{CARD}/") not in TIMES
