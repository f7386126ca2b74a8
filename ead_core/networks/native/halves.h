// Products of matrices whose numbers are rounded to bfloat16 and whose sums are floats, on CPUs with matrix tiles (AMX).
// Elsewhere tiles_allowed() is false, and nobody calls them.
//
// A pair is two numbers next to each other along the sum. Left matrices are [rows, pairs], right ones [pairs, columns],
// tile after tile, and padded to whole tiles, with zeros along the sum. Sums may be written beyond the last row, up to a
// multiple of SIDE.

#pragma once

#include "scratch.h"
#include "vectors.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#define EAD_TILES
#endif

namespace {

#ifdef EAD_TILES

constexpr long SIDE = 16;  // rows, columns and pairs of a tile

// Whether the kernel lets this process use tiles, which it must be asked for.
inline bool tiles_allowed() {
    constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
    static const bool allowed = syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
    return allowed;
}

// While this lives, the thread's tile registers have one shape.
class TileRegisters {
    struct alignas(64) Shape {
        uint8_t palette = 1, start = 0, reserved[14] = {};
        uint16_t bytes[16] = {};
        uint8_t rows[16] = {};
    };
    bool used;

public:
    explicit TileRegisters(bool used) : used(used) {
        if (!used) return;
        Shape shape;
        for (int index = 0; index < 8; ++index) shape.bytes[index] = 4 * SIDE, shape.rows[index] = SIDE;
        _tile_loadconfig(&shape);
    }
    ~TileRegisters() {
        if (used) _tile_release();
    }
};

// ---- From floats to pairs.

typedef uint32_t Pair;

inline long tiles(long count) { return (count + SIDE - 1) / SIDE; }
inline long pair_tiles(long inner) { return tiles((inner + 1) / 2); }

// Sixteen numbers and then sixteen others, rounded.
inline __m512i rounded(vec first, vec second) {
    return (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}

// Sixteen pairs of numbers of two vectors.
inline __m512i zipped(vec first, vec second) {
    alignas(64) static constexpr uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_load_si512(order), rounded(first, second));
}

// A matrix of pairs: row r of the tile in row i and column j is at data + ((i columns + j) SIDE + r) SIDE.
struct Tiled {
    Pair* data;
    long columns;  // of tiles
    Pair* tile(long i, long j) const { return data + (i * columns + j) * SIDE * SIDE; }
    Pair* row(long r, long j) const { return tile(r / SIDE, j) + r % SIDE * SIDE; }
};

// A left matrix from x [rows, inner], whose rows are `row` floats apart.
inline void left_pairs(long rows, long inner, const float* x, long row, Tiled out) {
    for (long m = 0; m < rows; ++m)
        for (long j = 0, k = 0; k < inner; ++j, k += 2 * LANES) {
            const float* from = x + m * row + k;
            _mm512_storeu_si512(out.row(m, j), rounded(load(from), k + LANES < inner ? load(from + LANES) : vec{}));
        }
}

// Calls use(p, j, pairs) for every pair p of rows of x [inner, columns] and every SIDE columns, the j-th ones.
template <class Use>
inline void each_pair(long inner, long columns, const float* x, long row, Use use) {
    for (long p = 0; p < pair_tiles(inner) * SIDE; ++p)
        for (long j = 0; j * SIDE < columns; ++j) {
            const float* from = x + 2 * p * row + j * SIDE;
            use(p, j, zipped(2 * p < inner ? load(from) : vec{}, 2 * p + 1 < inner ? load(from + row) : vec{}));
        }
}

// A right matrix from x [inner, columns].
inline void right_pairs(long inner, long columns, const float* x, long row, Tiled out) {
    each_pair(inner, columns, x, row, [&](long p, long j, __m512i pairs) { _mm512_storeu_si512(out.row(p, j), pairs); });
}

// A left matrix from x [inner, rows].
inline void turned_pairs(long rows, long inner, const float* x, long row, Tiled out) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i steps = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(SIDE));
    each_pair(inner, rows, x, row, [&](long p, long i, __m512i column) {
        _mm512_i32scatter_epi32(out.tile(i, p / SIDE) + p % SIDE, steps, column, sizeof(Pair));
    });
}

// ---- Products.

// C += A B, two tiles by two at a time.
inline void tile_product(long rows, long columns, Tiled a, Tiled b, Sums c) {
    constexpr long ROW = SIDE * sizeof(Pair);
    const long sums = c.row * sizeof(float);
    for (long n = 0; n < tiles(columns); n += 2)
        for (long m = 0; m < tiles(rows); m += 2) {
            const bool wide = n + 1 < tiles(columns), tall = m + 1 < tiles(rows);
            float *upper = c.data + SIDE * (m * c.row + n), *lower = upper + SIDE * c.row;
            _tile_loadd(0, upper, sums);
            if (wide) _tile_loadd(1, upper + SIDE, sums);
            if (tall) _tile_loadd(2, lower, sums);
            if (wide && tall) _tile_loadd(3, lower + SIDE, sums);
            for (long p = 0; p < a.columns; ++p) {
                _tile_loadd(4, a.tile(m, p), ROW);
                _tile_loadd(6, b.tile(p, n), ROW);
                _tile_dpbf16ps(0, 4, 6);
                if (tall) _tile_loadd(5, a.tile(m + 1, p), ROW);
                if (tall) _tile_dpbf16ps(2, 5, 6);
                if (!wide) continue;
                _tile_loadd(7, b.tile(p, n + 1), ROW);
                _tile_dpbf16ps(1, 4, 7);
                if (tall) _tile_dpbf16ps(3, 5, 7);
            }
            _tile_stored(0, upper, sums);
            if (wide) _tile_stored(1, upper + SIDE, sums);
            if (tall) _tile_stored(2, lower, sums);
            if (wide && tall) _tile_stored(3, lower + SIDE, sums);
        }
}

thread_local Scratch pair_scratch;
inline Tiled take_tiles(long rows, long columns) {
    return {reinterpret_cast<Pair*>(pair_scratch.take(rows * columns * SIDE * SIDE)), columns};
}

// A right matrix [H, H] that is used again and again.
class HalfWeights {
    long hidden;
    Lines lines;
    Tiled pairs;

public:
    HalfWeights(const float* matrix, long hidden, long row)
        : hidden(hidden), lines(pair_tiles(hidden) * SIDE * hidden / LANES),
          pairs{reinterpret_cast<Pair*>(lines.data()), tiles(hidden)} {
        right_pairs(hidden, hidden, matrix, row, pairs);
    }
    HalfWeights(const HalfWeights&) = delete;

    // out[rows, H] += x[rows, H] times the weights.
    void add(long rows, const float* x, long row, Sums out) const {
        pair_scratch.reserve(tiles(rows) * pair_tiles(hidden) * SIDE * SIDE);
        const Tiled left = take_tiles(tiles(rows), pair_tiles(hidden));
        left_pairs(rows, hidden, x, row, left);
        tile_product(rows, hidden, left, pairs, out);
    }
};

// out[rows, columns] += Σ_k x[k, rows] y[k, columns].
inline void add_outer(long rows, long columns, long inner, Right x, Right y, Sums out) {
    const long inside = pair_tiles(inner);
    pair_scratch.reserve((tiles(rows) + tiles(columns)) * inside * SIDE * SIDE);
    const Tiled left = take_tiles(tiles(rows), inside), right = take_tiles(inside, tiles(columns));
    turned_pairs(rows, inner, x.data, x.step, left);
    right_pairs(inner, columns, y.data, y.step, right);
    tile_product(rows, columns, left, right, out);
}

#else

inline bool tiles_allowed() { return false; }

struct TileRegisters {
    explicit TileRegisters(bool) {}
};
struct HalfWeights {
    HalfWeights(const float*, long, long) {}
    void add(long, const float*, long, Sums) const {}
};
inline void add_outer(long, long, long, Right, Right, Sums) {}

#endif

}  // namespace
