"""How many molecules of a size fit into one network call, so that no batch exhausts the memory.

What a call holds at its peak goes with the ordered pairs of atoms and, in small molecules, with the atoms; how many
numbers each of them takes is the network's to say, for the edge kernel that takes most.
"""

from ead_core.errors import ConfigError
from ead_core.networks.denoiser import Denoiser
from ead_core.networks.predictor import Predictor

GIB = 1 << 30
ALLOCATOR = 2.5  # bytes that a heap with gaps takes for each in use (docs/results/molecule-size.md)


def call_bytes(model: Denoiser | Predictor, atoms: int) -> int:
    """Most bytes that a call without gradients takes per molecule of `atoms` atoms."""
    network, weight = model.network, next(model.parameters())
    held = atoms**2 * network.floats_per_pair + atoms * (network.floats_per_atom + model.context)
    return round(ALLOCATOR * held * weight.element_size())


def molecules_per_call(model: Denoiser | Predictor, atoms: int, budget: float) -> int:
    """How many molecules of `atoms` atoms fit into a budget in GiB.

    Raises:
        ConfigError: not even one.
    """
    needed = call_bytes(model, atoms)
    if needed > budget * GIB:
        raise ConfigError(
            f"one molecule of {atoms} atoms needs up to {needed / GIB:.2g} GiB in a network call, more than "
            f"sampler.memory_budget={budget:g}; raise it or ask for smaller molecules."
        )
    return int(budget * GIB // needed)
