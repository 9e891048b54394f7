#pragma once
#include <cstdint>

// Random bits that stall a stream with a given density, in 65536ths; xorshift64*.
struct Stalls {
    uint64_t state;
    int64_t density;
    bool operator()() {
        if (density == 0) return false;
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return int64_t((state * 0x2545F4914F6CDD1Dull) >> 48) < density;
    }
};
