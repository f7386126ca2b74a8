// The edge operation of edges.py on CPUs, in tiles of consecutive ordered pairs (i, j).
//
// The forward pass writes projections and gathered sums; the backward pass computes a tile's values once more, but for
// second pre-activations that the forward pass has kept.
//
// Legend: N atoms, H hidden channels, D distances per edge, R Gaussians per distance (1: the distance itself enters),
// F = D R distance features, P projections.

#include "tiles.h"

namespace {

// As in native_edges.py; all tensors are dense, in the layout of edges.py.
struct Arguments {
    Parallel parallel;
    long threads, shares, half, molecules, atoms, hidden, distance_count, basis, projection_count;
    const float *receiver, *sender, *distances, *distance, *second, *second_bias, *projection, *projection_bias;
    const float* edges;  // null: nothing is gathered
    float* before;       // second pre-activations [B, N, N, H]; null: they are not kept
    float *projections, *gathered;
    const float *grad_projections, *grad_gathered;
    float *grad_receiver, *grad_sender, *grad_distances;  // the last one may be null
    float* grad_weights;                                  // [shares, …], see Backward::molecule
};

// One edge per row, and where its atoms are in [B N, H].
struct Tile {
    long edge, rows, receiver[TILE], sender[TILE];
    Tile(long edge, long last, long atoms) : edge(edge), rows(std::min(TILE, last - edge)) {
        long i = edge / atoms, j = edge % atoms, molecule = i / atoms;
        for (long m = 0; m < rows; ++m) {
            receiver[m] = i;
            sender[m] = molecule * atoms + j;
            if (++j == atoms) j = 0, molecule = ++i / atoms;
        }
    }
};

struct Operation {
    const Arguments& in;
    bool learns = false, half = in.half && tiles_allowed();
    long N = in.atoms, H = in.hidden, P = in.projection_count;
    long D = in.distance_count, R = in.basis, F = D * R;
    Narrow distance{in.distance, H, F, F, 1};
    Narrow projection{in.projection, H, P, 1, H};
    Layers layers{in.second, in.second_bias, H, half, learns};
    Gaussians gaussians{R};
    long row = layers.row;

    // Distance features of a tile: where they lie, or expanded into `room`.
    const float* features(const Tile& tile, float* room) const {
        const float* d = in.distances + tile.edge * D;
        if (R == 1) return d;
        for (long m = 0; m < tile.rows * D; ++m) gaussians.expand(Gaussians::bounded(d[m]), room + m * R);
        return room;
    }

    // Gradient of a tile's distances from that of their features, [rows, width].
    void distance_gradient(const Tile& tile, const float* features, const float* grad, long width) const {
        const float* d = in.distances + tile.edge * D;
        float* out = in.grad_distances + tile.edge * D;
        for (long m = 0; m < tile.rows; ++m)
            for (long c = 0; c < D; ++c) {
                const float* from = grad + m * width + c * R;
                long e = m * D + c;
                out[e] = R == 1 ? *from : gaussians.slope(d[e], features + e * R, from);
            }
    }

    // The messages of a tile, with slopes in the backward pass.
    template <bool SLOPE>
    void messages(const Tile& tile, const float* features, float* hidden, float* message,
                  float* const slopes[2]) const {
        const long few = F < DOTS ? F : 0;  // these are not worth another pass
        for (long m = 0; m < tile.rows; ++m) {
            const float *r = in.receiver + tile.receiver[m] * H, *s = in.sender + tile.sender[m] * H;
            for (long h = 0; h < H; h += LANES) {
                vec value = load(r + h) + load(s + h);
                for (long f = 0; f < few; ++f) value += features[m * F + f] * load(floats(distance.wide) + f * H + h);
                store(hidden + m * row + h, value);
            }
        }
        if (!few) product(tile.rows, H, F, {features, F, 1}, {floats(distance.wide), H}, {hidden, row});
        layers.activate<SLOPE>(tile.rows, hidden, slopes[0]);
        if (SLOPE && in.before)
            copy(tile.rows, H, in.before + tile.edge * H, H, message, row);
        else
            layers.second(tile.rows, hidden, message);
        if (!SLOPE && in.before) copy(tile.rows, H, message, row, in.before + tile.edge * H, H);
        layers.activate<SLOPE>(tile.rows, message, slopes[1]);
    }

    // σ(p₀) of a tile.
    void openness(const Tile& tile, float* open) const {
        for (long m = 0; m < tile.rows; ++m) open[m] = in.projections[(tile.edge + m) * P];
        for (long m = 0; m < tile.rows; m += LANES) store(open + m, sigmoid(load(open + m)));
    }

    // All edges of receivers first … last − 1 of the batch.
    void forward(long first, long last) const {
        scratch.reserve(TILE * (2 * row + F + projection.width + 1));
        float *hidden = scratch.take(TILE * row), *message = scratch.take(TILE * row), *room = scratch.take(TILE * F);
        float *readout = scratch.take(TILE * projection.width), *open = scratch.take(TILE);
        float* const no_slopes[2] = {};
        if (in.edges) std::fill(in.gathered + first * H, in.gathered + last * H, 0.0f);
        for (long edge = first * N; edge < last * N; edge += TILE) {
            const Tile tile(edge, last * N, N);
            messages<false>(tile, features(tile, room), hidden, message, no_slopes);
            projection.readout(tile.rows, H, message, row, readout);
            for (long m = 0; m < tile.rows; ++m)
                for (long p = 0; p < P; ++p)
                    in.projections[(tile.edge + m) * P + p] = readout[m * projection.width + p] + in.projection_bias[p];
            if (!in.edges) continue;
            openness(tile, open);
            for (long m = 0; m < tile.rows; ++m) {
                float share = open[m] * in.edges[tile.edge + m];
                float* to = in.gathered + tile.receiver[m] * H;
                for (long h = 0; h < H; h += LANES) store(to + h, load(to + h) + share * load(message + m * row + h));
            }
        }
    }
};

struct Backward : Operation {
    size_t weight_count() const { return H * (F + H + 1 + P) + P; }

    // One molecule's gradients; those of the weights [F, H], [H, H], [H], [P, H], [P] are added to `weights`.
    void molecule(long index, float* weights) const {
        float *to_distance = weights, *to_second = to_distance + F * H, *to_second_bias = to_second + H * H;
        float *to_projection = to_second_bias + H, *to_projection_bias = to_projection + P * H;
        scratch.reserve(TILE * (5 * row + F + distance.width + P + 1));
        float *hidden = scratch.take(TILE * row), *message = scratch.take(TILE * row), *flow = scratch.take(TILE * row);
        float* const slopes[2] = {scratch.take(TILE * row), scratch.take(TILE * row)};
        float *open = scratch.take(TILE), *room = scratch.take(TILE * F), *readout = scratch.take(TILE * P);
        float* narrow = scratch.take(TILE * distance.width);
        std::fill(in.grad_receiver + index * N * H, in.grad_receiver + (index + 1) * N * H, 0.0f);
        std::fill(in.grad_sender + index * N * H, in.grad_sender + (index + 1) * N * H, 0.0f);
        for (long first = index * N * N, last = first + N * N; first < last; first += TILE) {
            const Tile tile(first, last, N);
            const float* feature = features(tile, room);
            messages<true>(tile, feature, hidden, message, slopes);
            // Into the message: through the projections, the gate, and what the gate lets pass.
            std::copy(in.grad_projections + tile.edge * P, in.grad_projections + (tile.edge + tile.rows) * P, readout);
            if (in.edges) openness(tile, open);
            for (long m = 0; m < tile.rows; ++m) {
                float* into = flow + m * row;
                if (!in.edges) {
                    std::fill(into, into + H, 0.0f);
                    continue;
                }
                const float* from = in.grad_gathered + tile.receiver[m] * H;
                float share = open[m] * in.edges[tile.edge + m];
                vec along{};
                for (long h = 0; h < H; h += LANES) {
                    along += load(from + h) * load(message + m * row + h);
                    store(into + h, share * load(from + h));
                }
                readout[m * P] += sum(along) * share * (1.0f - open[m]);
            }
            product(tile.rows, H, P, {readout, P, 1}, {floats(projection.wide), H}, {flow, row});
            product(P, H, tile.rows, {readout, 1, P}, {message, row}, {to_projection, H});
            for (long m = 0; m < tile.rows; ++m)
                for (long p = 0; p < P; ++p) to_projection_bias[p] += readout[m * P + p];
            // Through both layers; the messages are no longer needed.
            float* before = message;
            layers.backward(tile.rows, flow, hidden, slopes, before, to_second, to_second_bias);
            product(F, H, tile.rows, {feature, 1, F}, {before, row}, {to_distance, H});
            for (long m = 0; m < tile.rows; ++m) {
                float *r = in.grad_receiver + tile.receiver[m] * H, *s = in.grad_sender + tile.sender[m] * H;
                for (long h = 0; h < H; h += LANES) {
                    vec value = load(before + m * row + h);
                    store(r + h, load(r + h) + value);
                    store(s + h, load(s + h) + value);
                }
            }
            if (!in.grad_distances) continue;
            distance.readout(tile.rows, H, before, row, narrow);
            distance_gradient(tile, feature, narrow, distance.width);
        }
    }
};

}  // namespace

extern "C" void edge_forward(const Arguments* in) { forward_by_receivers(Operation{*in}); }

extern "C" void edge_backward(const Arguments* in) { backward_by_shares(Backward{{*in, true}}); }
