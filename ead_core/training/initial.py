"""Starting a training from another checkpoint's weights, made wider where the new model knows more.

What is new starts at zero, so that the first prediction is that of the old model whatever the new inputs say: the
context channels of a conditional model, the layers for an estimate of a self-conditioned one, and the type of a dummy,
which is the first channel of an atom.
"""

from torch import Tensor
from torch.nn.functional import pad

from ead_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ead_core.config import Config
from ead_core.data.dataset import Statistics
from ead_core.data.tensors import AtomTypes
from ead_core.errors import CheckpointError

# Of the recipe: what an input or the output of the network means.
MEANING = ("diffusion.steps", "diffusion.schedule", "diffusion.parametrisation")
# Changes of these that the old weights bear. An output that was the noise is, as `preconditioned`, the same clean
# molecule from α = 0.2 on, and a bounded one where that is not defined; layers for an estimate start at zero.
BORNE = {("diffusion.parametrisation", "epsilon", "preconditioned"), ("network.self_conditioning", False, True)}


def initial_weights(config: Config, statistics: Statistics) -> dict[str, Tensor]:
    """Averaged weights of the checkpoint that `training.initial` names, for the network of the recipe.

    Raises:
        CheckpointError: no such checkpoint, or one that does not fit: another network, other levels or elements, other
            properties or another half of their labels, dummies that the recipe has not.
    """
    checkpoint = load_checkpoint(str(config.training.initial))
    name = f"training.initial={checkpoint.name}"
    _check_network(name, checkpoint.config, config)
    known, here = (", ".join(AtomTypes(s.atom_numbers).symbols) for s in (checkpoint.statistics, statistics))
    if known != here:
        raise CheckpointError(f"{name} knows the elements {known}, but the data have {here}.")
    return _widened(checkpoint, *_additions(name, checkpoint.config, config))


def _check_network(name: str, before: Config, config: Config) -> None:
    old, new = before.flat(), config.flat()
    for key in old:
        means = key.startswith("network.") or key in MEANING
        if means and old[key] != new[key] and (key, old[key], new[key]) not in BORNE:
            raise CheckpointError(f"{name} was trained with {key}={old[key]}, not {new[key]}.")


def _additions(name: str, before: Config, config: Config) -> tuple[int, int]:
    """How many types of atom and context channels the new model has more."""
    modes = before.diffusion.size_mode, config.diffusion.size_mode
    if modes == ("dummy", "histogram"):
        raise CheckpointError(f"{name} was trained with diffusion.size_mode=dummy, not histogram.")
    old, new = before.conditioning, config.conditioning
    if old.properties and old.properties != new.properties:
        there, here = (", ".join(names) or "none" for names in (old.properties, new.properties))
        raise CheckpointError(f"{name} was trained with conditioning.properties {there}, not {here}.")
    if old.properties and before.labels_seen != config.labels_seen:
        raise CheckpointError(
            f"{name} saw the labels of other molecules (conditioning.half={old.half}, "
            f"data.split_seed={before.data.split_seed}), perhaps those that this recipe keeps for a judge."
        )
    return int(modes == ("histogram", "dummy")), 2 * (len(new.properties) - len(old.properties))


def _widened(checkpoint: Checkpoint, types: int, context: int) -> dict[str, Tensor]:
    """The weights with zeros for further types in front and for further context behind."""
    denoiser = checkpoint.denoiser
    weights: dict[str, Tensor] = dict(denoiser.state_dict())
    names: dict[Tensor, str] = {parameter: name for name, parameter in denoiser.named_parameters()}
    first, last = denoiser.network.input_layer, denoiser.network.output_layer
    for parameter, sides in (
        (first.weight, (types, context)),
        (last.weight, (0, 0, types, 0)),
        (last.bias, (types, 0)),
    ):
        weights[names[parameter]] = pad(parameter, sides)
    return weights
