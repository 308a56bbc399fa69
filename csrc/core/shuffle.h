// A random order of rows, the same on every platform.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>

namespace fusednet {

// Numbers of SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", 2014).
class SplitMix64 {
public:
    explicit SplitMix64(std::uint64_t seed) : state_(seed) {}

    std::uint64_t operator()() {
        state_ += 0x9e3779b97f4a7c15U;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31);
    }

private:
    std::uint64_t state_;
};

// Fisher and Yates' shuffle of 0 … n − 1. A number below b is the upper half of a product with b: its bias is b / 2⁶⁴.
inline void random_order(std::int64_t* order, std::size_t n, std::uint64_t seed) {
    __extension__ using Wide = unsigned __int128;
    SplitMix64 random(seed);
    std::iota(order, order + n, std::int64_t{0});
    for (std::size_t i = n; i-- > 1;) {
        std::swap(order[i], order[static_cast<std::size_t>((static_cast<Wide>(random()) * (i + 1)) >> 64)]);
    }
}

}  // namespace fusednet
