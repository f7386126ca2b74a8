"""A checkpoint as an MLflow model: our files untouched among its artifacts, and the code that serves them."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import mlflow
import mlflow.pyfunc

from ead_core.checkpoints.checkpoint import CONFIG, PRIOR, STATISTICS, WEIGHTS, Checkpoint
from ead_core.config.presets import PRESETS
from ead_core.evaluation.quality import EARLIER, QUALITY
from ead_platform.registry import pyfunc_model
from ead_platform.registry.pyfunc_model import EXAMPLE, SIGNATURE
from ead_platform.tracking.runs import CHECKPOINT

FILES = (CONFIG, WEIGHTS, STATISTICS, PRIOR, PRESETS, QUALITY, EARLIER)
REQUIRED = ("mlflow", "numpy", "pandas", "rdkit", "safetensors", "torch")  # and `ead` itself, which no index has


def identity_of(checkpoint: Checkpoint) -> str:
    """Equal for checkpoints that generate the same molecules by default: fingerprint and digest of the sampler."""
    settings = json.dumps(checkpoint.config.sampler.model_dump(mode="json"), sort_keys=True)
    return f"{checkpoint.fingerprint()}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"


@contextmanager
def packed(folder: Path) -> Iterator[Path]:
    """The folder of an MLflow model made from a checkpoint's, for the length of a block."""
    with tempfile.TemporaryDirectory(prefix="ead-") as scratch:
        staged, model = Path(scratch, CHECKPOINT), Path(scratch, "model")
        staged.mkdir()
        for name in FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, staged / name)
        mlflow.pyfunc.save_model(
            model,
            python_model=str(pyfunc_model.__file__),
            artifacts={CHECKPOINT: str(staged)},
            signature=SIGNATURE,
            input_example=EXAMPLE,
            pip_requirements=[f"{package}=={version(package)}" for package in REQUIRED],
        )
        yield model
