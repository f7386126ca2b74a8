// Tiles: some dozen edges, one per row, whose channels stay in the cache while a small network goes over them.
//
// Rows do not depend on each other, and sums run in a fixed order, so a result depends neither on the threads nor on
// other molecules.
//
// Legend: H channels of an edge. A tile's rows are `row` floats apart.

#pragma once

#include <algorithm>
#include <atomic>
#include <optional>
#include <vector>

#include "halves.h"
#include "scratch.h"
#include "vectors.h"

namespace {

constexpr long TILE = 48;  // edges; a multiple of LANES and of the block heights
constexpr long SKEW = 16;  // floats between rows: rows a power of two apart would share cache sets
constexpr long DOTS = 4;   // with fewer columns than this, dot products beat padding to whole vectors

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

// Weights [in, out] of a layer between H channels and H others; `half` multiplies in bfloat16 (halves.h).
struct Square {
    long H, row = H + SKEW;
    Lines weights;
    std::optional<HalfWeights> halves;
    Square(const float* matrix, long hidden, long in, long out, bool half)
        : H(hidden), weights(arranged(matrix, H, H, in, out, row)) {
        if (half) halves.emplace(floats(weights), H, row);
    }

    // y[rows, H] += x[rows, H] times the weights; all rows of a tile may be written.
    void add(long rows, const float* x, float* y) const {
        if (halves) return halves->add(rows, x, row, {y, row});
        product(rows, H, H, {x, row, 1}, {floats(weights), row}, {y, row});
    }

    // gradient[out, in] += that of a product, from those of y [rows, H].
    void add_gradient(long rows, const float* x, const float* flow, float* gradient) const {
        if (halves) return add_outer(H, H, rows, {flow, row}, {x, row}, {gradient, H});
        product(H, H, rows, {flow, 1, row}, {x, row}, {gradient, H});
    }
};

// What leads from a tile's first pre-activations to its messages, and back.
struct Layers {
    long H, row = H + SKEW;
    const float* bias;
    Square there;
    std::optional<Square> back;  // the second layer the other way round
    Layers(const float* second, const float* bias, long hidden, bool half, bool learns)
        : H(hidden), bias(bias), there(second, H, 1, H, half) {
        if (learns) back.emplace(second, H, H, 1, half);
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

    // Second pre-activations, of which the messages are made.
    void second(long rows, const float* hidden, float* message) const {
        for (long m = 0; m < rows; ++m)
            for (long h = 0; h < H; h += LANES) store(message + m * row + h, load(bias + h));
        there.add(rows, hidden, message);
    }

    // From the gradient of the messages to `before`, that of the first pre-activations; those of the second layer's
    // weights [H, H] and bias [H] are added to what is there.
    void backward(long rows, float* flow, const float* hidden, float* const slopes[2], float* before, float* to_second,
                  float* to_bias) const {
        const float one = 1.0f;
        scale(rows, flow, slopes[1]);
        product(1, H, rows, {&one, 0, 0}, {flow, row}, {to_bias, H});
        there.add_gradient(rows, hidden, flow, to_second);
        std::fill(before, before + rows * row, 0.0f);
        back->add(rows, flow, before);
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
        const TileRegisters registers{operation.half};
        operation.forward(index * group, std::min(receivers, (index + 1) * group));
    });
}

// Backward pass of all molecules, those of a share one after the other, which sum their weights' gradients.
template <class Backward>
void backward_by_shares(const Backward& backward) {
    const auto& in = backward.in;
    each(in.parallel, in.threads, in.shares, [&](long share) {
        const TileRegisters registers{backward.half};
        float* weights = in.grad_weights + share * backward.weight_count();
        std::fill(weights, weights + backward.weight_count(), 0.0f);
        for (long index = share; index < in.molecules; index += in.shares) backward.molecule(index, weights);
    });
}

}  // namespace
