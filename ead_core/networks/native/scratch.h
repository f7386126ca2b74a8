// Memory of whole vectors.

#pragma once

#include <vector>

#include "vectors.h"

namespace {

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

}  // namespace
