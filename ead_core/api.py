"""What `from ead_core import …` offers; loading it loads torch (see `ead_core.__getattr__`)."""

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.chemistry.molecule import Molecule
from ead_core.config import Config, load_config
from ead_core.data.dataset import Statistics, compute_statistics, split_indices
from ead_core.data.exchange import from_rdkit, to_rdkit
from ead_core.data.formats import read_molecules, write_molecules
from ead_core.data.store import MoleculeSet
from ead_core.data.tensors import AtomTypes, MoleculeBatch
from ead_core.diffusion.policy import Adaptive, Manual, Synchronous
from ead_core.diffusion.schedule import NoiseSchedule
from ead_core.errors import EADError
from ead_core.evaluation.card import Card
from ead_core.evaluation.evaluate import evaluate
from ead_core.evaluation.run import EvaluationPlan
from ead_core.prediction.predict import predict
from ead_core.sampling.generation import sample
from ead_core.sampling.matching import match
from ead_core.training.fit import fit

__all__ = [
    # train
    "Config",
    "load_config",
    "fit",
    "Checkpoint",
    "load_checkpoint",
    # generate
    "sample",
    "match",
    "NoiseSchedule",
    "Synchronous",
    "Manual",
    "Adaptive",
    # data
    "MoleculeSet",
    "Molecule",
    "MoleculeBatch",
    "AtomTypes",
    "Statistics",
    "compute_statistics",
    "split_indices",
    "read_molecules",
    "write_molecules",
    "to_rdkit",
    "from_rdkit",
    # measure
    "Card",
    "EvaluationPlan",
    "evaluate",
    "predict",
    # what can go wrong
    "EADError",
]
