// The edge operation of vector_edges.py on CPUs, in tiles of the pairs of different real atoms; others are left out.
//
// What goes along an edge's direction n_ij is linear in it, so its weights are the caller's to apply, per atom: a
// first pre-activation is r_i + s_j + n_ij · (u_i + v_j) + (Gaussians of d_ij) W, and what a receiver gathers is
// Σ_j σ_ij m_ij, Σ_j n_ij m_ij, Σ_j b_ij seen_j and Σ_j n_ij. The readouts of a message m_ij are b_ij, then its gate.
//
// Legend: N atoms, H channels of an edge, R Gaussians of a distance, K vectors of an atom, P = K + 1 readouts. The
// components of an atom's vectors are V floats apart, K of them and zeros up to whole vectors of floats.

#include <cmath>

#include "tiles.h"

namespace {

// As in native_vector_edges.py; all tensors are dense.
struct Arguments {
    Parallel parallel;
    long threads, shares, half, molecules, atoms, hidden, basis, vectors, vector_row;
    const float* positions;                      // [B, N, 3]
    const float *ends, *along;                   // [B, N, 2, H] r and s, [B, N, 3, 2, H] u and v
    const float* seen;                           // [B, N, 3, V]
    const float *radial, *second, *second_bias;  // [R, H], [H, H], [H]
    const float *readout, *readout_bias;         // [P, H], [P]
    const bool* mask;                            // [B, N]
    float *gathered, *gathered_along, *passed;   // [B, N, H], [B, N, 3, H], [B, N, 3, V]; all come as zeros
    float* directions;                           // [B, N, 3], zeros
    const float *grad_gathered, *grad_gathered_along, *grad_passed;
    float *grad_ends, *grad_along, *grad_seen;  // zeros
    float* grad_weights;                        // [shares, …], see Backward::molecule
};

// One edge per row: its atoms in [B N], its direction (x_i − x_j) / (d + 1) by components, and room for its values.
struct Tile {
    long rows, receiver[TILE], sender[TILE];
    float direction[3][TILE] = {};
    float *features, *readout, *open;                 // Gaussians [TILE, R], [TILE, width], σ of the gates [TILE]
    float *hidden, *message, *flow, *slopes[2] = {};  // [TILE, row]; the last three for the way back

    // Calls work(i, start, end) for every receiver i and its rows.
    template <class Work>
    void by_receiver(Work work) const {
        for (long start = 0, end; start < rows; start = end) {
            for (end = start + 1; end < rows && receiver[end] == receiver[start];) ++end;
            work(receiver[start], start, end);
        }
    }

    // n_ij · (x, y, z) of a row.
    vec along(long m, vec x, vec y, vec z) const {
        return direction[0][m] * x + direction[1][m] * y + direction[2][m] * z;
    }
};

// The edges of receivers `receiver` … last − 1 of the batch, in order.
struct Edges {
    const bool* mask;
    long atoms, receiver, last, sender = 0;  // sender: of the next pair, within its molecule

    // Puts the next edges into a tile; false if there are none.
    bool fill(Tile& tile) {
        for (tile.rows = 0; receiver < last; ++receiver, sender = 0) {
            if (!mask[receiver]) continue;
            for (const long first = receiver / atoms * atoms; sender < atoms; ++sender) {
                if (!mask[first + sender] || first + sender == receiver) continue;
                if (tile.rows == TILE) return true;
                tile.receiver[tile.rows] = receiver;
                tile.sender[tile.rows++] = first + sender;
            }
        }
        return tile.rows > 0;
    }
};

struct Operation {
    const Arguments& in;
    bool learns = false, half = in.half && tiles_allowed();
    long N = in.atoms, H = in.hidden, R = in.basis, K = in.vectors, P = K + 1, V = in.vector_row;
    Narrow readouts{in.readout, H, P, 1, H};
    Lines readout_bias{arranged(in.readout_bias, 1, P, 0, 1, readouts.width)};
    Layers layers{in.second, in.second_bias, H, half, learns};
    Gaussians gaussians{R};
    long row = layers.row, width = readouts.width;

    Tile empty_tile() const {
        Tile tile;
        scratch.reserve(TILE * ((learns ? 5 : 2) * row + R + width + 1));
        for (float** room : {&tile.hidden, &tile.message}) *room = scratch.take(TILE * row);
        tile.features = scratch.take(TILE * R), tile.readout = scratch.take(TILE * width);
        tile.open = scratch.take(TILE);
        if (learns)
            for (float** room : {&tile.flow, &tile.slopes[0], &tile.slopes[1]}) *room = scratch.take(TILE * row);
        return tile;
    }

    // Directions of a tile, and the Gaussians of its distances.
    void geometry(Tile& tile) const {
        float bounded[TILE];
        for (long m = 0; m < tile.rows; ++m)
            for (long c = 0; c < 3; ++c)
                tile.direction[c][m] = in.positions[3 * tile.receiver[m] + c] - in.positions[3 * tile.sender[m] + c];
        float *x = tile.direction[0], *y = tile.direction[1], *z = tile.direction[2];
        for (long m = 0; m < TILE; ++m) {  // used or not: the rest of a shorter loop might round in another way
            float d = std::sqrt(x[m] * x[m] + y[m] * y[m] + z[m] * z[m] + 1e-8f), scale = 1.0f / (d + 1.0f);
            x[m] *= scale, y[m] *= scale, z[m] *= scale;
            bounded[m] = Gaussians::bounded(d);
        }
        for (long m = 0; m < tile.rows; ++m) gaussians.expand(bounded[m], tile.features + m * R);
    }

    // The messages of a tile, their readouts, and how open their gates are.
    template <bool SLOPE>
    void messages(const Tile& tile) const {
        tile.by_receiver([&](long i, long start, long end) {
            const float *r = in.ends + i * 2 * H, *u = in.along + i * 6 * H;
            for (long h = 0; h < H; h += LANES) {
                const vec own = load(r + h), x = load(u + h), y = load(u + 2 * H + h), z = load(u + 4 * H + h);
                for (long m = start; m < end; ++m) {
                    const float *s = in.ends + (tile.sender[m] * 2 + 1) * H + h;
                    const float *v = in.along + (tile.sender[m] * 6 + 1) * H + h;
                    const vec along = tile.along(m, x + load(v), y + load(v + 2 * H), z + load(v + 4 * H));
                    store(tile.hidden + m * row + h, own + load(s) + along);
                }
            }
        });
        product(tile.rows, H, R, {tile.features, R, 1}, {in.radial, H}, {tile.hidden, row});
        layers.activate<SLOPE>(tile.rows, tile.hidden, tile.slopes[0]);
        layers.second(tile.rows, tile.hidden, tile.message);
        layers.activate<SLOPE>(tile.rows, tile.message, tile.slopes[1]);
        readouts.readout(tile.rows, H, tile.message, row, tile.readout);
        for (long m = 0; m < tile.rows; ++m) {
            for (long p = 0; p < width; p += LANES) add(tile.readout + m * width + p, load(floats(readout_bias) + p));
            tile.open[m] = tile.readout[m * width + K];
        }
        for (long m = 0; m < tile.rows; m += LANES) store(tile.open + m, sigmoid(load(tile.open + m)));
    }

    // Adds rows start … end − 1 of a tile to what their receiver i gathers.
    void gather(const Tile& tile, long i, long start, long end) const {
        const Right messages{tile.message + start * row, row};
        const Left direction{tile.direction[0] + start, TILE, 1};
        product(1, H, end - start, {tile.open + start, 0, 1}, messages, {in.gathered + i * H, H});
        product(3, H, end - start, direction, messages, {in.gathered_along + i * 3 * H, H});
        for (long c = 0; c < 3; ++c) {
            for (long k = 0; k < K; k += LANES) {
                const float *by = tile.readout + k, *seen = in.seen + c * V + k;
                float* to = in.passed + (i * 3 + c) * V + k;
                vec total = load(to);
                for (long m = start; m < end; ++m) total += load(by + m * width) * load(seen + tile.sender[m] * 3 * V);
                store(to, total);
            }
            float total = in.directions[i * 3 + c];
            for (long m = start; m < end; ++m) total += tile.direction[c][m];
            in.directions[i * 3 + c] = total;
        }
    }

    // Receivers first … last − 1 of the batch.
    void forward(long first, long last) const {
        Edges edges{in.mask, N, first, last};
        for (Tile tile = empty_tile(); edges.fill(tile);) {
            geometry(tile);
            messages<false>(tile);
            tile.by_receiver([&](long i, long start, long end) { gather(tile, i, start, end); });
        }
    }
};

struct Backward : Operation {
    size_t weight_count() const { return H * (R + H + 1 + P) + P; }

    // One molecule's gradients; those of the weights [R, H], [H, H], [H], [P, H], [P] are added to `weights`.
    void molecule(long index, float* weights) const {
        float *to_radial = weights, *to_second = to_radial + R * H, *to_second_bias = to_second + H * H;
        float *to_readout = to_second_bias + H, *to_readout_bias = to_readout + P * H;
        Edges edges{in.mask, N, index * N, (index + 1) * N};
        for (Tile tile = empty_tile(); edges.fill(tile);) {
            geometry(tile);
            messages<true>(tile);
            tile.by_receiver([&](long i, long start, long end) { scatter(tile, i, start, end); });
            const long rows = tile.rows;
            product(rows, H, P, {tile.readout, width, 1}, {floats(readouts.wide), H}, {tile.flow, row});
            product(P, H, rows, {tile.readout, 1, width}, {tile.message, row}, {to_readout, H});
            for (long m = 0; m < rows; ++m)
                for (long p = 0; p < P; ++p) to_readout_bias[p] += tile.readout[m * width + p];
            float* before = tile.message;  // the messages are no longer needed
            layers.backward(rows, tile.flow, tile.hidden, tile.slopes, before, to_second, to_second_bias);
            product(R, H, rows, {tile.features, 1, R}, {before, row}, {to_radial, H});
            to_atoms(tile, before);
        }
    }

    // From the gradients of what receiver i gathers to those of the messages in rows start … end − 1, but for what goes
    // through their readouts, whose gradients replace them; those of `seen` are added to what is there.
    void scatter(const Tile& tile, long i, long start, long end) const {
        const float *gathered = in.grad_gathered + i * H, *along = in.grad_gathered_along + i * 3 * H;
        vec gate[TILE];
        std::fill(gate + start, gate + end, vec{});
        for (long h = 0; h < H; h += LANES) {
            const vec own = load(gathered + h);
            const vec x = load(along + h), y = load(along + H + h), z = load(along + 2 * H + h);
            for (long m = start; m < end; ++m) {
                gate[m] += own * load(tile.message + m * row + h);
                store(tile.flow + m * row + h, tile.open[m] * own + tile.along(m, x, y, z));
            }
        }
        const float* passed = in.grad_passed + i * 3 * V;
        for (long k = 0; k < K; k += LANES) {
            const vec x = load(passed + k), y = load(passed + V + k), z = load(passed + 2 * V + k);
            for (long m = start; m < end; ++m) {
                const float* seen = in.seen + tile.sender[m] * 3 * V + k;
                float *to = in.grad_seen + tile.sender[m] * 3 * V + k, *readout = tile.readout + m * width + k;
                const vec by = load(readout);
                store(readout, x * load(seen) + y * load(seen + V) + z * load(seen + 2 * V));
                add(to, by * x);
                add(to + V, by * y);
                add(to + 2 * V, by * z);
            }
        }
        for (long m = start; m < end; ++m)
            tile.readout[m * width + K] = sum(gate[m]) * tile.open[m] * (1.0f - tile.open[m]);
    }

    // Adds the gradients of the first pre-activations to those of `ends` and `along`.
    void to_atoms(const Tile& tile, const float* before) const {
        tile.by_receiver([&](long i, long start, long end) {
            const float one = 1.0f;
            const Right from{before + start * row, row};
            const Left direction{tile.direction[0] + start, TILE, 1};
            product(1, H, end - start, {&one, 0, 0}, from, {in.grad_ends + i * 2 * H, 2 * H});
            product(3, H, end - start, direction, from, {in.grad_along + i * 6 * H, 2 * H});
        });
        for (long m = 0; m < tile.rows; ++m) {
            const float x = tile.direction[0][m], y = tile.direction[1][m], z = tile.direction[2][m];
            float *s = in.grad_ends + (tile.sender[m] * 2 + 1) * H, *v = in.grad_along + (tile.sender[m] * 6 + 1) * H;
            for (long h = 0; h < H; h += LANES) {
                const vec value = load(before + m * row + h);
                add(s + h, value);
                add(v + h, x * value);
                add(v + 2 * H + h, y * value);
                add(v + 4 * H + h, z * value);
            }
        }
    }
};

}  // namespace

extern "C" void vector_edge_forward(const Arguments* in) { forward_by_receivers(Operation{*in}); }

extern "C" void vector_edge_backward(const Arguments* in) { backward_by_shares(Backward{{*in, true}}); }
