"""Modules under the names that they had before: models registered in MLflow carry a file that imports some of them.

Every name still works, with a DeprecationWarning that says where the module is now.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

GONE = ("metrics", "viewer")  # folders whose modules are elsewhere
MOVED = {
    "containers": "common.containers",
    "cpu": "common.cpu",
    "data.fragment_file": "sampling.fragment_file",
    "data.molecule": "chemistry.molecule",
    "diffusion.build": "sampling.build",
    "diffusion.cohorts": "sampling.micro_batches",
    "diffusion.conditions": "sampling.conditions",
    "diffusion.draws": "sampling.draws",
    "diffusion.engine": "sampling.engine",
    "diffusion.fragments": "sampling.fragments",
    "diffusion.generation": "sampling.generation",
    "diffusion.memory": "networks.memory",
    "diffusion.orders": "sampling.request_states",
    "diffusion.prefix": "sampling.prefix",
    "diffusion.recorder": "traces.recorder",
    "diffusion.requests": "sampling.requests",
    "diffusion.sampler": "sampling.sampler",
    "diffusion.state": "sampling.state",
    "diffusion.trace": "traces.trace",
    "documents": "common.documents",
    "elements": "chemistry.elements",
    "evaluation.contained": "evaluation.isolated_workers",
    "evaluation.fragment_warnings": "sampling.fragment_warnings",
    "evaluation.identity": "chemistry.identity",
    "evaluation.missing_atoms": "chemistry.missing_atoms",
    "evaluation.perception": "chemistry.perception",
    "evaluation.reasons": "chemistry.reasons",
    "evaluation.resonance": "chemistry.resonance",
    "evaluation.usual": "chemistry.usual",
    "evaluation.valency": "chemistry.valency",
    "evaluation.worth": "evaluation.chemistry_and_cost",
    "exchange": "data.exchange",
    "files": "common.files",
    "judge.calibration": "prediction.calibration",
    "judge.judge": "prediction.judge",
    "judge.training": "training.calibrating",
    "limits": "common.limits",
    "locks": "common.locks",
    "looks": "pictures.looks",
    "markdown": "common.markdown",
    "metrics.bonds": "chemistry.bonds",
    "metrics.chemistry": "evaluation.smiles",
    "metrics.intervals": "common.intervals",
    "metrics.published": "evaluation.published",
    "metrics.stability": "evaluation.stability",
    "molecules": "data.tensors",
    "networks.native_build": "networks.native.build",
    "networks.native_edges": "networks.native.edges",
    "networks.native_vector_edges": "networks.native.vector_edges",
    "noise": "common.noise",
    "overlap": "chemistry.overlap",
    "parquet_files": "common.parquet_files",
    "precision": "networks.precision",
    "processes": "common.processes",
    "sealed": "common.sealed",
    "sections": "config",
    "strict_yaml": "common.strict_yaml",
    "training.addresses": "checkpoints.addresses",
    "training.checkpoint": "checkpoints.checkpoint",
    "viewer.heatmap": "traces.heatmap",
    "viewer.page": "traces.page",
    "viewer.template": "pictures.template",
}


class _Elsewhere(MetaPathFinder, Loader):
    """Finds a moved module by its old name; it gets the contents of the new one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != "ead_core" or (name not in MOVED and name not in GONE):
            return None
        return ModuleSpec(fullname, self, is_package=name in GONE)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.partition(".")[2]
        if name not in MOVED:
            return
        warnings.warn(f"ead_core.{name} is now ead_core.{MOVED[name]}", DeprecationWarning, stacklevel=2)
        now = importlib.import_module(f"ead_core.{MOVED[name]}")
        vars(module).update({key: value for key, value in vars(now).items() if not key.startswith("__")})


def find_moved_modules() -> None:
    """Let imports of this process find modules under their old names, once all others have not."""
    if not any(isinstance(finder, _Elsewhere) for finder in sys.meta_path):
        sys.meta_path.append(_Elsewhere())
