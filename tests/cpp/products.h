// What the tests of the matrix products share: their shapes, a plain loop to compare with, and pieces of a result.
#pragma once

#include "support.h"

namespace fusednet::testing {

inline constexpr std::size_t sizes[] = {1,  2,  3,  5,  7,  8,  13, 14,  15,  16, 17,
                                        29, 31, 32, 33, 47, 64, 65, 127, 128, 129};

struct Shape {
    std::size_t rows, columns, depth, gap;  // gap: elements between a matrix's rows
};

// Every pair of rows and columns with a depth that goes round; a few beyond the depth of a block and a large stride.
template <class Body>
void for_each_shape(Body body) {
    std::size_t turn = 0;
    for (const std::size_t rows : sizes) {
        for (const std::size_t columns : sizes) {
            ++turn;
            if (effort == 1 && turn % 5 != 0) continue;
            const Shape shape{rows, columns, sizes[turn * 8 % 21], turn % 3 == 0 ? 3u : 0u};
            CAPTURE(rows);
            CAPTURE(columns);
            CAPTURE(shape.depth);
            CAPTURE(shape.gap);
            body(shape);
        }
    }
    std::vector<Shape> others = {
        {3, 33, 513, 0},   {1, 70, 1100, 0},   {47, 17, 1029, 5}, {40, 512, 20, 0},  {65, 1024, 9, 0},
        {2, 1, 700, 0},    {100, 1040, 70, 0}, {40, 300, 300, 1}, {27, 100, 257, 1}, {20, 36, 31, 0},
        {27, 100, 320, 1}, {130, 100, 321, 0}, {1, 140, 1100, 0}, {4, 516, 300, 0},  {29, 420, 330, 0},
        {40, 10, 70, 0},   {33, 12, 350, 0},   {50, 9, 65, 3},    {30, 22, 20, 0},   {35, 43, 80, 0},
        {30, 37, 4, 3},    {18, 100, 6, 0},    {1, 430, 341, 0},  {1, 1024, 300, 0}, {3, 448, 700, 0},
        {7, 430, 700, 0},  {5, 430, 341, 0},   {6, 516, 300, 0},  {24, 300, 300, 0}, {21, 430, 341, 0},
        {20, 8210, 1, 0},  {40, 64, 3201, 0},  {31, 520, 600, 0}, {530, 98, 168, 0}};
    // dZ is far: weights by parts of the columns, of which the last is narrow.
    others.push_back({20, 1601, 100, 0});
    // Each half of the depth is a longest block.
    others.insert(others.end(), {{120, 64, 1600, 1}, {8, 31, 1600, 0}});
    // The last block of the depth is a step: of a W that is near, and one that is far by many tiles, one, or two.
    others.insert(others.end(),
                  {{20, 16, 12801, 0}, {20, 40, 12801, 0}, {13, 800, 337, 0}, {5, 800, 337, 0}, {30, 350, 1249, 0}});
    for (std::size_t columns = 2; columns < 13; ++columns) {  // by dot products, of one block of the depth, two, three
        others.push_back({15 + columns, columns, 100 * columns - 1, 0});
        others.push_back({8, columns, 512, 0});  // a whole block
    }
    for (const std::size_t tile_rows : {3u, 6u, 10u, 14u}) {  // of one set or another
        const std::size_t two_tiles = tile_rows + 1, nine_tiles = 8 * tile_rows + 1;
        // W is far, and X and dZ are copied: by AVX-512 only where they are several times as large.
        others.push_back({two_tiles, 70000 / two_tiles, effort == 1 ? two_tiles : 6 * two_tiles, 0});
        others.push_back({nine_tiles, 70, 200, 0});  // W is copied; and next, where its rows start amid a line
        others.push_back({2 * tile_rows + 1, 70, 200, 1});
    }
    for (const Shape& shape : others) {
        CAPTURE(shape.rows);
        CAPTURE(shape.columns);
        CAPTURE(shape.depth);
        body(shape);
    }
}

// A · B by a plain loop, with Σ|a·b| beside it: the rounding of a sum is bounded by it. a(i, p) and b(p, j) are
// callables.
template <class T>
struct Product {
    std::vector<Wide<T>> value, size;

    template <class A, class B>
    Product(std::size_t rows, std::size_t columns, std::size_t depth, A a, B b)
        : value(rows * columns), size(rows * columns), columns_(columns), depth_(depth) {
        for (std::size_t i = 0; i < rows; ++i) {
            for (std::size_t p = 0; p < depth; ++p) {
                for (std::size_t j = 0; j < columns; ++j) {
                    const Wide<T> term = static_cast<Wide<T>>(a(i, p)) * static_cast<Wide<T>>(b(p, j));
                    value[i * columns + j] += term;
                    size[i * columns + j] += std::abs(term);
                }
            }
        }
    }

    // own · A · B + old · W, of which W is one more step of the depth.
    Product with(T own, T old, const Matrix<T>& w) const {
        Product p = *this;
        ++p.depth_;
        for (std::size_t i = 0; i < value.size(); ++i) {
            const Wide<T> kept = static_cast<Wide<T>>(old) * static_cast<Wide<T>>(w(i / columns_, i % columns_));
            p.value[i] = static_cast<Wide<T>>(own) * value[i] + kept;
            p.size[i] = std::abs(static_cast<Wide<T>>(own)) * size[i] + std::abs(kept);
        }
        return p;
    }

    // The largest error in `result`, as a part of what rounding may do.
    double error(const Matrix<T>& result) const {
        Wide<T> worst = 0;
        for (std::size_t i = 0; i < result.rows(); ++i) {
            for (std::size_t j = 0; j < columns_; ++j) {
                const Wide<T> e = std::abs(static_cast<Wide<T>>(result(i, j)) - value[i * columns_ + j]);
                const Wide<T> bound = size[i * columns_ + j] * static_cast<Wide<T>>(depth_ + 4) * epsilon<T> / 2;
                worst = e <= bound ? std::max(worst, e / bound) : infinity<Wide<T>>;
            }
        }
        return static_cast<double>(worst);
    }

private:
    std::size_t columns_, depth_;
};

template <class T>
using Role = typename Matrix<T>::Role;

// A row to be read and so many others, of a line each, for which tiles are interrupted after every step.
inline ReadAhead rows_to_read(std::size_t count) {
    alignas(64) static const char line[64] = {};
    return {{line, 0, nullptr, 0, 1, sizeof line}, {line, 0, nullptr, 0, count, sizeof line}, 1, 1, true};
}

// Pieces of 0..n whose lengths are multiples of the unit but for the last.
template <class Body>
void for_each_piece(std::size_t n, std::size_t unit, Body body) {
    for (std::size_t begin = 0, units = 1; begin < n; ++units) {
        const std::size_t length = std::min(units * unit, n - begin);
        body(begin, length);
        begin += length;
    }
}

}  // namespace fusednet::testing
