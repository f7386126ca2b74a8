// The edge operation of edges.py on CPUs: every edge tensor lives in tiles of a few dozen edges that fit the cache.
//
// A tile holds consecutive ordered pairs (i, j) of one molecule, one edge per row. The forward pass writes only
// projections and gathered sums; the backward pass computes a tile's values once more. Rows do not depend on each
// other, and sums run in a fixed order, so a result depends neither on the threads nor on other molecules.
//
// Legend: N atoms, H hidden channels, D distances per edge, R Gaussians per distance (1: the distance itself enters),
// F = D R distance features, P projections. A tile's rows are `row` floats apart.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, ACCUMULATORS = 24;  // of 32 registers
#elif defined(__AVX__)
constexpr int LANES = 8, ACCUMULATORS = 12;  // of 16 registers
#elif defined(__aarch64__)
constexpr int LANES = 4, ACCUMULATORS = 24;
#else
constexpr int LANES = 4, ACCUMULATORS = 12;
#endif
constexpr int WIDEST = ACCUMULATORS / 6;  // vectors per row of a block of six rows
constexpr long TILE = 48;                 // edges; a multiple of the block heights
constexpr long SKEW = 16;                 // floats between rows: rows a power of two apart would share cache sets
constexpr long DOTS = 4;                  // with fewer columns than this, dot products beat padding to whole vectors

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float unaligned __attribute__((vector_size(4 * LANES), aligned(4)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));

inline vec load(const float* from) { return *reinterpret_cast<const unaligned*>(from); }
inline void store(float* to, vec value) { *reinterpret_cast<unaligned*>(to) = value; }
inline long padded(long count) { return (count + LANES - 1) / LANES * LANES; }

inline float sum(vec value) {
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int lane = 0; lane < width; ++lane) value[lane] += value[lane + width];
    return value[0];
}

// 2^x for |x| <= 126, else of the nearer end, to 2e-7 relative: x = n + r with an integer n for the exponent bits and
// a minimax polynomial of 2^r on |r| <= 1/2.
inline vec power_of_two(vec x) {
    x = x < -126.0f ? vec{} - 126.0f : x;
    x = x > 126.0f ? vec{} + 126.0f : x;
    const float round = 12582912.0f;  // 1.5 · 2^23: adding it leaves the nearest integer in the low bits
    vec shifted = x + round, r = x - (shifted - round);
    vec power = r * 0.00132764713f + 0.00967554189f;
    power = power * r + 0.0555071309f;
    power = power * r + 0.240221202f;
    power = power * r + 0.693146944f;
    power = power * r + 1.0f;
    return (vec)((bits)power + ((bits)shifted << 23));
}

constexpr float LOG2_E = 1.44269504f;

inline vec sigmoid(vec x) { return 1.0f / (1.0f + power_of_two(-LOG2_E * x)); }

// ---- Products: C += A B, with A(m, k) = a[m row + k step], rows of B `step` apart, and whole vectors of columns.

struct Left {
    const float* data;
    long row, step;
};
struct Right {
    const float* data;
    long step;
};
struct Sums {
    float* data;
    long row;
};

template <int ROWS, int VECTORS>
inline void block(long inner, Left a, Right b, Sums c) {
    vec total[ROWS][VECTORS];
#pragma GCC unroll 24
    for (int m = 0; m < ROWS; ++m)
        for (int n = 0; n < VECTORS; ++n) total[m][n] = load(c.data + m * c.row + n * LANES);
    for (long k = 0; k < inner; ++k, a.data += a.step, b.data += b.step) {
        vec right[VECTORS];
        for (int n = 0; n < VECTORS; ++n) right[n] = load(b.data + n * LANES);
#pragma GCC unroll 24
        for (int m = 0; m < ROWS; ++m)
            for (int n = 0; n < VECTORS; ++n) total[m][n] += a.data[m * a.row] * right[n];
    }
#pragma GCC unroll 24
    for (int m = 0; m < ROWS; ++m)
        for (int n = 0; n < VECTORS; ++n) store(c.data + m * c.row + n * LANES, total[m][n]);
}

template <int ROWS, int VECTORS>
void strip(long rows, long inner, Left a, Right b, Sums c) {
    for (; rows >= ROWS; rows -= ROWS, a.data += ROWS * a.row, c.data += ROWS * c.row)
        block<ROWS, VECTORS>(inner, a, b, c);
    if constexpr (ROWS > 1) strip<ROWS / 2, VECTORS>(rows, inner, a, b, c);
}

template <int VECTORS = WIDEST>
void product(long rows, long columns, long inner, Left a, Right b, Sums c) {
    constexpr long WIDTH = VECTORS * LANES;
    for (; columns >= WIDTH; columns -= WIDTH, b.data += WIDTH, c.data += WIDTH)
        strip<ACCUMULATORS / VECTORS, VECTORS>(rows, inner, a, b, c);
    if constexpr (VECTORS > 1) product<VECTORS / 2>(rows, columns, inner, a, b, c);
}

// ---- Memory.

struct alignas(4 * LANES) Line {
    float values[LANES];
};
typedef std::vector<Line> Lines;

inline const float* floats(const Lines& lines) { return lines.data()->values; }

// Scratch of a thread, kept between calls.
class Scratch {
    Lines memory;
    size_t used = 0;

public:
    void reserve(size_t floats) {
        used = 0;
        if (memory.size() < floats / LANES) memory.resize(floats / LANES);
    }
    float* take(size_t floats) {
        float* start = memory[used / LANES].values;
        used += floats;
        return start;
    }
};
thread_local Scratch scratch;

// A copy, element (r, c) from matrix[r row + c column], with rows of `width` floats.
Lines arranged(const float* matrix, long rows, long columns, long row, long column, long width) {
    Lines copy(rows * width / LANES);
    for (long r = 0; r < rows; ++r)
        for (long c = 0; c < columns; ++c) copy[(r * width + c) / LANES].values[c % LANES] = matrix[r * row + c * column];
    return copy;
}

// Weights between the H channels and a few columns: as [columns, H] and, padded to whole vectors, as [H, columns].
struct Narrow {
    long columns, width;
    Lines wide, tall;
    Narrow(const float* matrix, long hidden, long columns, long channel, long column)
        : columns(columns), width(padded(columns)), wide(arranged(matrix, columns, hidden, column, channel, hidden)),
          tall(arranged(matrix, hidden, columns, channel, column, width)) {}

    // out[rows, width] = x[rows, H] times the weights.
    void readout(long rows, long hidden, const float* x, long row, float* out) const {
        if (columns >= DOTS) {
            std::fill(out, out + rows * width, 0.0f);
            product(rows, width, hidden, {x, row, 1}, {floats(tall), width}, {out, width});
            return;
        }
        for (long m = 0; m < rows; ++m)
            for (long c = 0; c < columns; ++c) {
                vec total{};
                for (long h = 0; h < hidden; h += LANES)
                    total += load(x + m * row + h) * load(floats(wide) + c * hidden + h);
                out[m * width + c] = sum(total);
            }
    }
};

// ---- The operation.

// GOMP_parallel of the OpenMP runtime that torch uses: calls a function with its argument on so many threads.
typedef void (*Parallel)(void (*)(void*), void*, unsigned, unsigned);

// As in native.py; all tensors are dense, in the layout of edges.py.
struct Arguments {
    Parallel parallel;
    long threads, shares, molecules, atoms, hidden, distance_count, basis, projection_count;
    const float *receiver, *sender, *distances, *distance, *second, *second_bias, *projection, *projection_bias;
    const float* edges;  // null: nothing is gathered
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

std::vector<float> grid(long count) {
    std::vector<float> points(count);
    for (long k = 1; k < count; ++k) points[k] = float(k) / float(count - 1);
    return points;
}

struct Operation {
    const Arguments& in;
    long N = in.atoms, H = in.hidden, P = in.projection_count;
    long D = in.distance_count, R = in.basis, F = D * R, row = H + SKEW;
    Narrow distance{in.distance, H, F, F, 1};
    Narrow projection{in.projection, H, P, 1, H};
    Lines second_in{arranged(in.second, H, H, 1, H, row)};  // [in, out]
    std::vector<float> centres{grid(R)};                    // of the Gaussians of u = d / (d + 3)

    // Distance features of a tile: where they lie, or expanded into `room`.
    const float* features(const Tile& tile, float* room) const {
        const float* d = in.distances + tile.edge * D;
        if (R == 1) return d;
        for (long m = 0; m < tile.rows * D; ++m) {
            float bounded = d[m] / (d[m] + 3.0f);
            for (long k = 0; k < R; k += LANES) {
                vec offset = (bounded - load(centres.data() + k)) * float(R);
                store(room + m * R + k, power_of_two(-0.5f * LOG2_E * offset * offset));
            }
        }
        return room;
    }

    // Gradient of a tile's distances from that of their features, [rows, width].
    void distance_gradient(const Tile& tile, const float* features, const float* grad, long width) const {
        float* out = in.grad_distances + tile.edge * D;
        for (long m = 0; m < tile.rows; ++m)
            for (long c = 0; c < D; ++c) {
                if (R == 1) {
                    out[m * D + c] = grad[m * width + c];
                    continue;
                }
                float d = in.distances[(tile.edge + m) * D + c], bounded = d / (d + 3.0f);
                vec total{};
                for (long k = 0; k < R; k += LANES)
                    total += load(grad + m * width + c * R + k) * load(features + (m * D + c) * R + k) *
                             (load(centres.data() + k) - bounded);
                out[m * D + c] = sum(total) * float(R * R) * 3.0f / ((d + 3.0f) * (d + 3.0f));
            }
    }

    // Replaces pre-activations by SiLU of them, and writes its slope where there is room for it.
    template <bool SLOPE>
    void activate(long rows, float* x, float* slope) const {
        for (long m = 0; m < rows; ++m)
            for (long h = m * row; h < m * row + H; h += LANES) {
                vec value = load(x + h), open = sigmoid(value), active = value * open;
                store(x + h, active);
                if (SLOPE) store(slope + h, open + active * (1.0f - open));
            }
    }

    // Both layers of a tile.
    template <bool SLOPE>
    void layers(const Tile& tile, const float* features, float* hidden, float* message, float* slopes[2]) const {
        for (long m = 0; m < tile.rows; ++m) {
            const float *r = in.receiver + tile.receiver[m] * H, *s = in.sender + tile.sender[m] * H;
            for (long h = 0; h < H; h += LANES) {
                store(hidden + m * row + h, load(r + h) + load(s + h));
                store(message + m * row + h, load(in.second_bias + h));
            }
        }
        product(tile.rows, H, F, {features, F, 1}, {floats(distance.wide), H}, {hidden, row});
        activate<SLOPE>(tile.rows, hidden, slopes[0]);
        product(tile.rows, H, H, {hidden, row, 1}, {floats(second_in), row}, {message, row});
        activate<SLOPE>(tile.rows, message, slopes[1]);
    }

    // σ(p₀) of a tile.
    void openness(const Tile& tile, float* open) const {
        for (long m = 0; m < tile.rows; ++m) open[m] = in.projections[(tile.edge + m) * P];
        for (long m = 0; m < tile.rows; m += LANES) store(open + m, sigmoid(load(open + m)));
    }

    // Edges first … last of the batch, all those of some receivers.
    void forward(long first, long last) const {
        scratch.reserve(TILE * (2 * row + F + projection.width + 1));
        float *hidden = scratch.take(TILE * row), *message = scratch.take(TILE * row), *room = scratch.take(TILE * F);
        float *readout = scratch.take(TILE * projection.width), *open = scratch.take(TILE);
        float* no_slopes[2] = {};
        if (in.edges) std::fill(in.gathered + first / N * H, in.gathered + last / N * H, 0.0f);
        for (; first < last; first += TILE) {
            const Tile tile(first, last, N);
            layers<false>(tile, features(tile, room), hidden, message, no_slopes);
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
    Lines second_out{arranged(in.second, H, H, H, 1, row)};  // [out, in]

    size_t weight_count() const { return H * (F + H + 1 + P) + P; }

    // One molecule's gradients; those of the weights [F, H], [H, H], [H], [P, H], [P] are added to `weights`.
    void molecule(long index, float* weights) const {
        float *to_distance = weights, *to_second = to_distance + F * H, *to_second_bias = to_second + H * H;
        float *to_projection = to_second_bias + H, *to_projection_bias = to_projection + P * H;
        scratch.reserve(TILE * (5 * row + F + distance.width + P + 1));
        float *hidden = scratch.take(TILE * row), *message = scratch.take(TILE * row), *flow = scratch.take(TILE * row);
        float* slopes[2] = {scratch.take(TILE * row), scratch.take(TILE * row)};
        float *open = scratch.take(TILE), *room = scratch.take(TILE * F), *readout = scratch.take(TILE * P);
        float* narrow = scratch.take(TILE * distance.width);
        std::fill(in.grad_receiver + index * N * H, in.grad_receiver + (index + 1) * N * H, 0.0f);
        std::fill(in.grad_sender + index * N * H, in.grad_sender + (index + 1) * N * H, 0.0f);
        const float one = 1.0f;
        for (long first = index * N * N, last = first + N * N; first < last; first += TILE) {
            const Tile tile(first, last, N);
            const float* feature = features(tile, room);
            layers<true>(tile, feature, hidden, message, slopes);
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
            // Through the second layer.
            scale(tile.rows, flow, slopes[1]);
            product(1, H, tile.rows, {&one, 0, 0}, {flow, row}, {to_second_bias, H});
            product(H, H, tile.rows, {flow, 1, row}, {hidden, row}, {to_second, H});
            float* before = message;  // no longer needed
            std::fill(before, before + TILE * row, 0.0f);
            product(tile.rows, H, H, {flow, row, 1}, {floats(second_out), row}, {before, row});
            // Through the first layer.
            scale(tile.rows, before, slopes[0]);
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

    void scale(long rows, float* x, const float* by) const {
        for (long m = 0; m < rows; ++m)
            for (long h = m * row; h < m * row + H; h += LANES) store(x + h, load(x + h) * load(by + h));
    }
};

// Work on 0 … count − 1, taken by the threads as they come.
template <class Work>
void each(const Arguments& in, long count, Work work) {
    std::atomic<long> next{0};
    auto take = [&] {
        for (long index; (index = next++) < count;) work(index);
    };
    if (in.threads < 2 || count < 2) return take();
    in.parallel([](void* closure) { (*static_cast<decltype(take)*>(closure))(); }, &take, unsigned(in.threads), 0);
}

}  // namespace

extern "C" void edge_forward(const Arguments* in) {
    const Operation operation{*in};
    const long receivers = in->molecules * in->atoms, group = std::max(1L, 4 * TILE / in->atoms);
    each(*in, (receivers + group - 1) / group, [&](long index) {
        operation.forward(index * group * in->atoms, std::min(receivers, (index + 1) * group) * in->atoms);
    });
}

extern "C" void edge_backward(const Arguments* in) {
    const Backward backward{{*in}};
    each(*in, in->shares, [&](long share) {
        float* weights = in->grad_weights + share * backward.weight_count();
        std::fill(weights, weights + backward.weight_count(), 0.0f);
        for (long index = share; index < in->molecules; index += in->shares) backward.molecule(index, weights);
    });
}
