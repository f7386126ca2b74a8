// Tiles: some dozen edges, one per row, whose channels stay in the cache while a small network goes over them.
//
// Rows do not depend on each other, and sums run in a fixed order, so a result depends neither on the threads nor on
// other molecules.
//
// Legend: H channels of an edge. A tile's rows are `row` floats apart.

#pragma once

#include <algorithm>
#include <atomic>
#include <vector>

#include "vectors.h"

namespace {

constexpr long TILE = 48;  // edges; a multiple of LANES and of the block heights
constexpr long SKEW = 16;  // floats between rows: rows a power of two apart would share cache sets
constexpr long DOTS = 4;   // with fewer columns than this, dot products beat padding to whole vectors

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

// ---- Layers.

// Rows of H floats from a tile into a tensor, or the other way round.
inline void copy(long rows, long hidden, const float* from, long from_row, float* to, long to_row) {
    for (long m = 0; m < rows; ++m)
        for (long h = 0; h < hidden; h += LANES) store(to + m * to_row + h, load(from + m * from_row + h));
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

// R Gaussians of u = d / (d + 3), centred on a uniform grid over [0, 1].
struct Gaussians {
    long R;
    std::vector<float> centres;
    explicit Gaussians(long count) : R(count), centres(count) {
        for (long k = 1; k < count; ++k) centres[k] = float(k) / float(count - 1);
    }

    static float bounded(float d) { return d / (d + 3.0f); }

    void expand(float u, float* out) const {
        for (long k = 0; k < R; k += LANES) {
            vec offset = (u - load(centres.data() + k)) * float(R);
            store(out + k, power_of_two(-0.5f * LOG2_E * offset * offset));
        }
    }

    // Gradient of d from that of its Gaussians.
    float slope(float d, const float* gaussians, const float* grad) const {
        vec total{};
        for (long k = 0; k < R; k += LANES)
            total += load(grad + k) * load(gaussians + k) * (load(centres.data() + k) - bounded(d));
        return sum(total) * float(R * R) * 3.0f / ((d + 3.0f) * (d + 3.0f));
    }
};

// What leads from a tile's first pre-activations to its messages, and back.
struct Layers {
    long H, row = H + SKEW;
    const float* bias;
    Lines in, out;  // the second layer as [in, out] and, for the way back, [out, in]
    Layers(const float* second, const float* bias, long hidden, bool learns)
        : H(hidden), bias(bias), in(arranged(second, H, H, 1, H, row)),
          out(learns ? arranged(second, H, H, H, 1, row) : Lines()) {}

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

    // Second pre-activations, of which the messages are made.
    void second(long rows, const float* hidden, float* message) const {
        for (long m = 0; m < rows; ++m)
            for (long h = 0; h < H; h += LANES) store(message + m * row + h, load(bias + h));
        product(rows, H, H, {hidden, row, 1}, {floats(in), row}, {message, row});
    }

    // From the gradient of the messages to `before`, that of the first pre-activations; those of the second layer's
    // weights [H, H] and bias [H] are added to what is there.
    void backward(long rows, float* flow, const float* hidden, float* const slopes[2], float* before, float* to_second,
                  float* to_bias) const {
        const float one = 1.0f;
        scale(rows, flow, slopes[1]);
        product(1, H, rows, {&one, 0, 0}, {flow, row}, {to_bias, H});
        product(H, H, rows, {flow, 1, row}, {hidden, row}, {to_second, H});
        std::fill(before, before + rows * row, 0.0f);
        product(rows, H, H, {flow, row, 1}, {floats(out), row}, {before, row});
        scale(rows, before, slopes[0]);
    }

    void scale(long rows, float* x, const float* by) const {
        for (long m = 0; m < rows; ++m)
            for (long h = m * row; h < m * row + H; h += LANES) store(x + h, load(x + h) * load(by + h));
    }
};

// ---- Threads.

// GOMP_parallel of the OpenMP runtime that torch uses: calls a function with its argument on so many threads.
typedef void (*Parallel)(void (*)(void*), void*, unsigned, unsigned);

// Work on 0 … count − 1, taken by the threads as they come.
template <class Work>
void each(Parallel parallel, long threads, long count, Work work) {
    std::atomic<long> next{0};
    auto take = [&] {
        for (long index; (index = next++) < count;) work(index);
    };
    if (threads < 2 || count < 2) return take();
    parallel([](void* closure) { (*static_cast<decltype(take)*>(closure))(); }, &take, unsigned(threads), 0);
}

// Forward pass of all receivers, in groups.
template <class Operation>
void forward_by_receivers(const Operation& operation) {
    const auto& in = operation.in;
    const long receivers = in.molecules * in.atoms, group = std::max(1L, 4 * TILE / in.atoms);
    each(in.parallel, in.threads, (receivers + group - 1) / group, [&](long index) {
        operation.forward(index * group, std::min(receivers, (index + 1) * group));
    });
}

// Backward pass of all molecules, those of a share one after the other, which sum their weights' gradients.
template <class Backward>
void backward_by_shares(const Backward& backward) {
    const auto& in = backward.in;
    each(in.parallel, in.threads, in.shares, [&](long share) {
        float* weights = in.grad_weights + share * backward.weight_count();
        std::fill(weights, weights + backward.weight_count(), 0.0f);
        for (long index = share; index < in.molecules; index += in.shares) backward.molecule(index, weights);
    });
}

}  // namespace
