"""The MLflow run of a training: what it was asked, what it rests on, how it went, and what came of it."""

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE

from ead_core.evaluation.card import Card
from ead_platform.cluster.revision import uncommitted_changes
from ead_platform.cluster.settings import Settings
from ead_platform.tracking.curves import draw_curves
from ead_platform.tracking.provenance import PACKAGE, about_tags, code_tags
from ead_platform.tracking.runs import CHECKPOINT, KIND_TAG, TRAINING
from ead_platform.tracking.store import lossy, open_store
from ead_platform.tracking.system_metrics import HostMetrics
from ead_platform.training.recipe import Recipe

TRAINING_TAG, STORAGE_TAG = "ead.training", "ead.storage"
CHANGED = "changed."  # before the name of a parameter or tag that a continued run has another value of
SOURCE = {MLFLOW_SOURCE_NAME: "platform/jobs/train.py", MLFLOW_SOURCE_TYPE: "LOCAL"}
RECIPE, CURVES, CARD, SAMPLES = "recipe.yaml", "curves.png", "card", "samples"
DIGEST_LETTERS = 16  # MLflow takes 36; the whole hash is a tag
CARD_FIGURES = {
    "published": ("atom_stability", "molecule_stability", "validity", "validity_x_uniqueness"),
    "strict": ("perceived", "connected", "strict_validity", "strict_unique"),
    "plausibility": ("posebusters", "strain"),
    "cost": ("nfe", "seconds"),
}


class TrainingTracker:
    """Writes one training; a run that is continued goes on in the same MLflow run.

    Nothing is written before the first report: what the workers refuse leaves no trace. After that a store that fails
    costs what it did not take, never the training.

    Args:
        settings: names the store.
        recipe: its flat keys become the parameters, its place in the storage distinguishes runs.

    Attributes:
        store: address of the MLflow store.
        run_id: of the MLflow run; None as long as there is nothing to record.

    Raises:
        EADError: the store cannot be reached.
    """

    def __init__(self, settings: Settings, recipe: Recipe) -> None:
        self._recipe, self.store = recipe, settings.tracking_uri
        self._about: Mapping[str, Any] | None = None
        self._host, self._begun = HostMetrics(), False
        self.run_id: str | None = None
        with open_store(settings) as (self._client, self._experiment):
            pass

    def open(self) -> str:
        """The id of the run, found by its place or new."""
        if self.run_id is None:
            run = self._find() or self._create()
            self._describe(run)
            self.run_id = str(run.info.run_id)
        return self.run_id

    def _find(self) -> Run | None:
        found = self._client.search_runs([self._experiment], f"tags.`{TRAINING_TAG}` = '{self._key}'")
        return found[0] if found else None

    @property
    def _key(self) -> str:
        """The run's place in the storage, as a hash: a path may hold what MLflow's filter cannot quote."""
        return hashlib.sha256(self._recipe.place.encode()).hexdigest()

    def _create(self) -> Run:
        tags = {KIND_TAG: TRAINING, STORAGE_TAG: self._recipe.place, TRAINING_TAG: self._key, **SOURCE}
        return self._client.create_run(self._experiment, run_name=self._recipe.platform.name, tags=tags)

    def _describe(self, run: Run) -> None:
        """Parameters cannot be changed in MLflow; what a continued run changes becomes a tag, that of the code too."""
        params = {name: str(value) for name, value in self._recipe.flat().items()}
        tags = code_tags() | (about_tags(self._about) if self._about else {})
        known = {**run.data.tags, **run.data.params}
        changed = {CHANGED + name: value for name, value in (params | tags).items() if known.get(name, value) != value}
        new = {name: value for name, value in tags.items() if name not in known}
        self._client.log_batch(
            run.info.run_id,
            params=[Param(name, value) for name, value in params.items() if name not in known],
            tags=[RunTag(name, value) for name, value in (new | changed).items()],
        )
        self._client.log_dict(run.info.run_id, self._recipe.model_dump(mode="json"), RECIPE)
        if changes := uncommitted_changes(PACKAGE):
            self._client.log_text(run.info.run_id, changes, "uncommitted.diff")
        if self._about:
            self._client.log_inputs(run.info.run_id, [_dataset_input(self._about["dataset"])])

    def log(self, row: Mapping[str, Any]) -> None:
        """Write one report of the workers.

        Args:
            row: `step`, numbers, in the first report also `about` (provenance.py), and a PNG as `picture`.
        """
        rest = dict(row)
        step, picture, self._about = int(rest.pop("step")), rest.pop("picture", None), rest.pop("about", self._about)
        with lossy(f"the figures of step {step}", self.store):
            self._begin()
            self._log_numbers(rest, step)
        if picture is not None and self.run_id:
            with lossy(f"the picture of step {step}", self.store), tempfile.TemporaryDirectory() as folder:
                file = Path(folder, f"step-{step:06d}.png")
                file.write_bytes(picture)
                self._client.log_artifact(self.run_id, str(file), SAMPLES)

    def _begin(self) -> None:
        """Open the run at the first report of a sitting."""
        if self._begun:
            return
        run_id = self.open()
        self._client.update_run(run_id, status="RUNNING")
        if self._recipe.platform.system_metrics:
            self._host.start(run_id, self.store)
        self._begun = True

    def _log_numbers(self, numbers: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metrics = [Metric(name, float(value), now, step) for name, value in numbers.items()]
        self._client.log_batch(self.open(), metrics=metrics)

    def finish(self, status: str, checkpoint: Path) -> None:
        """Close the run with its curves and a checkpoint directory: pictures at the top, the rest in `checkpoint/`."""
        self._host.stop()
        if self.run_id is None:
            return
        for path in sorted(checkpoint.iterdir()):
            with lossy(path.name, self.store):
                self._client.log_artifact(self.run_id, str(path), None if path.suffix == ".png" else CHECKPOINT)
        with lossy(CURVES, self.store), tempfile.TemporaryDirectory() as folder:
            draw_curves(self._curves(self.run_id), Path(folder, CURVES))
            self._client.log_artifact(self.run_id, str(Path(folder, CURVES)))
        with lossy("how the run ended", self.store):
            self._client.set_terminated(self.run_id, status=status)

    def _curves(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        names = [name for name in self._client.get_run(run_id).data.metrics if "/" not in name]
        histories = {name: self._client.get_metric_history(run_id, name) for name in names}
        return {name: [(metric.step, metric.value) for metric in history] for name, history in histories.items()}

    def log_card(self, folder: Path, card: Card, step: int) -> None:
        """Write an evaluation card: its folder as artifacts, its main figures and their intervals as metrics."""
        numbers: dict[str, float] = {}
        for section, name, figure in card.figures():
            if name in CARD_FIGURES.get(section, ()):
                low, high = figure.interval or (None, None)
                ends = {name: figure.value, f"{name}_low": low, f"{name}_high": high}
                numbers |= {f"{CARD}/{end}": value for end, value in ends.items() if value is not None}
        with lossy("the card", self.store):
            self._log_numbers(numbers, step)
            self._client.log_artifacts(self.open(), str(folder), CARD)


def _dataset_input(dataset: Mapping[str, Any]) -> DatasetInput:
    """The data as MLflow shows it: name, digest, where it was, and the molecules of each part of the split."""
    molecules = dataset["molecules"]
    profile = {"num_rows": sum(molecules.values()), **molecules, "split": dataset["split"]}
    entity = Dataset(
        name=dataset["name"],
        digest=dataset["sha256"][:DIGEST_LETTERS],
        source_type="local",
        source=json.dumps({"uri": dataset["path"]}),
        profile=json.dumps(profile),
    )
    return DatasetInput(entity, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])
