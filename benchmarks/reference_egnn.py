"""EDM's EGNN as EDM computes it, written plainly from its description: edge lists, every ordered pair, padding.

Each edge of the padded batch, self-loops and padding included, passes both edge networks; masks act afterwards. It is
the oracle of the dense networks and the yardstick of their speed.
"""

import torch
from torch.nn.functional import linear, silu


def edge_list_egnn(weights, z, time, mask, layers):
    """Noise prediction [B, N, 3 + F] of a padded batch from a state dict of `Egnn` (gradients flow into it)."""
    batch, atoms = mask.shape
    row, col = edges(batch, atoms, z.device)
    node_mask = mask.reshape(-1, 1).to(z.dtype)
    edge_mask = node_mask[row] * node_mask[col] * (row != col)[:, None]
    flat = z.reshape(batch * atoms, -1)
    x, h = flat[:, :3], torch.cat([flat[:, 3:], time.reshape(-1, 1).to(z.dtype)], dim=1)
    pairs = row, col, edge_mask
    moved, h = dynamics(weights, x, h, pairs, node_mask, layers)
    velocity = (moved - x).view(batch, atoms, 3) * mask[..., None]
    mean = velocity.sum(1, keepdim=True) / mask.sum(1)[:, None, None]
    features = h.view(batch, atoms, -1)[..., :-1]
    return torch.cat([velocity - mean, features], dim=-1) * mask[..., None]


def edges(batch, atoms, device):
    """All ordered pairs of atoms of the same molecule, as indices of flattened atoms."""
    first = torch.arange(batch, device=device)[:, None, None] * atoms
    index = torch.arange(atoms, device=device)
    row = (first + index[None, :, None]).expand(batch, atoms, atoms)
    col = (first + index[None, None, :]).expand(batch, atoms, atoms)
    return row.reshape(-1), col.reshape(-1)


def dynamics(weights, x, h, pairs, node_mask, layers):
    row, col, edge_mask = pairs
    initial = squared_distance(x, row, col)
    h = apply(weights, "embed", h)
    for layer in range(layers):
        name = f"blocks.{layer}."
        difference, squared = x[row] - x[col], squared_distance(x, row, col)
        message = edge_network(weights, name + "message", h, row, col, squared, initial)
        message = message * torch.sigmoid(apply(weights, name + "gate", message)) * edge_mask
        total = torch.zeros_like(h).index_add(0, row, message)
        update = silu(apply(weights, name + "update.0", torch.cat([h, total], dim=1)))
        h = (h + apply(weights, name + "update.2", update)) * node_mask
        phi = edge_network(weights, name + "coordinate", h, row, col, squared, initial)
        weight = 15 * torch.tanh(linear(phi, weights[name + "coordinate_weight.weight"]))
        shift = difference / ((squared + 1e-8).sqrt() + 1) * weight * edge_mask
        x = (x + torch.zeros_like(x).index_add(0, row, shift)) * node_mask
    return x, apply(weights, "readout", h) * node_mask


def squared_distance(x, row, col):
    return ((x[row] - x[col]) ** 2).sum(1, keepdim=True)


def edge_network(weights, name, h, row, col, squared, initial):
    edge = torch.cat([h[row], h[col], squared, initial], dim=1)
    return silu(apply(weights, name + ".second", silu(apply(weights, name + ".first", edge))))


def apply(weights, name, value):
    return linear(value, weights[name + ".weight"], weights[name + ".bias"])
