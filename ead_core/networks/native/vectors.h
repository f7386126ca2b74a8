// Vectors of floats in the compilers' own extension, exponentials of them, and products of small matrices.

#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

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

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float unaligned __attribute__((vector_size(4 * LANES), aligned(4)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));

inline vec load(const float* from) { return *reinterpret_cast<const unaligned*>(from); }
inline void store(float* to, vec value) { *reinterpret_cast<unaligned*>(to) = value; }
inline void add(float* to, vec value) { store(to, load(to) + value); }
inline long padded(long count) { return (count + LANES - 1) / LANES * LANES; }

template <int COUNT>
struct Half {
    typedef float type __attribute__((vector_size(2 * COUNT)));
};

// Sum of a vector's numbers, by halves.
template <int COUNT = LANES, class Vector>
inline float sum(Vector value) {
    if constexpr (COUNT == 2) {
        return value[0] + value[1];
    } else {
        typename Half<COUNT>::type parts[2];
        std::memcpy(parts, &value, sizeof parts);
        return sum<COUNT / 2>(parts[0] + parts[1]);
    }
}

// Minimax polynomial of 2^r on |r| <= 1/2, to 2e-7 relative.
inline vec power_of_fraction(vec r) {
    vec power = r * 0.00132764713f + 0.00967554189f;
    power = power * r + 0.0555071309f;
    power = power * r + 0.240221202f;
    power = power * r + 0.693146944f;
    return power * r + 1.0f;
}

// 2^x for |x| <= 126, beyond of the nearer end, or below of x itself; x = n + r with an integer n.
inline vec power_of_two(vec x) {
    x = x > 126.0f ? vec{} + 126.0f : x;
#if defined(__AVX512F__)
    const vec n = (vec)_mm512_roundscale_ps((__m512)x, 0);
    return (vec)_mm512_scalef_ps((__m512)power_of_fraction(x - n), (__m512)n);
#else
    x = x < -126.0f ? vec{} - 126.0f : x;
    const float round = 12582912.0f;  // 1.5 · 2^23: adding it leaves the nearest integer in the low bits
    const vec shifted = x + round;
    return (vec)((bits)power_of_fraction(x - (shifted - round)) + ((bits)shifted << 23));
#endif
}

// 1 / x for 2^-126 <= x <= 2^126, to a rounding or two: a division takes longer than to better a first guess.
inline vec inverse(vec x) {
#if defined(__AVX512F__)
    const vec guess = (vec)_mm512_rcp14_ps((__m512)x);
    return guess * (2.0f - x * guess);
#else
    return 1.0f / x;
#endif
}

constexpr float LOG2_E = 1.44269504f;

inline vec sigmoid(vec x) { return inverse(1.0f + power_of_two(-LOG2_E * x)); }

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

}  // namespace
