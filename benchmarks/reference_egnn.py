"""EDM's EGNN written plainly over an edge list, from its description: the oracle for the dense network."""

import torch
from torch.nn.functional import linear, silu


def edge_list_egnn(weights, z, time, mask, layers):
    """Noise prediction [B, N, 3 + F] molecule by molecule, edge by edge, from a state dict of `Egnn`."""
    out = torch.zeros_like(z)
    for b in range(len(z)):
        n = int(mask[b].sum())
        x, h = _molecule(weights, z[b, :n, :3], z[b, :n, 3:], time[b, :n, None].to(z.dtype), layers)
        velocity = x - z[b, :n, :3]
        out[b, :n] = torch.cat([velocity - velocity.mean(0), h], dim=1)
    return out


def _molecule(weights, x, h, time, layers):
    n = len(x)
    row = torch.tensor([i for i in range(n) for j in range(n) if i != j], dtype=torch.long)
    col = torch.tensor([j for i in range(n) for j in range(n) if i != j], dtype=torch.long)
    initial = ((x[row] - x[col]) ** 2).sum(1, keepdim=True)
    h = _linear(weights, "embed", torch.cat([h, time], dim=1))
    for layer in range(layers):
        name = f"blocks.{layer}."
        difference = x[row] - x[col]
        squared = (difference**2).sum(1, keepdim=True)
        message = _edge(weights, name + "message", h, row, col, squared, initial)
        message = message * torch.sigmoid(_linear(weights, name + "gate", message))
        total = torch.zeros(n, message.shape[1]).index_add_(0, row, message)
        update = silu(_linear(weights, name + "update.0", torch.cat([h, total], dim=1)))
        h = h + _linear(weights, name + "update.2", update)
        phi = _edge(weights, name + "coordinate", h, row, col, squared, initial)
        weight = 15 * torch.tanh(linear(phi, weights[name + "coordinate_weight.weight"]))
        shift = difference / ((squared + 1e-8).sqrt() + 1) * weight
        x = x + torch.zeros_like(x).index_add_(0, row, shift)
    return x, _linear(weights, "readout", h)[:, :-1]


def _edge(weights, name, h, row, col, squared, initial):
    edge = torch.cat([h[row], h[col], squared, initial], dim=1)
    return silu(_linear(weights, name + ".second", silu(_linear(weights, name + ".first", edge))))


def _linear(weights, name, value):
    return linear(value, weights[name + ".weight"], weights[name + ".bias"])
