// How a layer's products are cut into tasks for a team.
#pragma once

#include <algorithm>

#include "core/dense.h"

namespace fusednet {

// Rows of one task.
inline constexpr std::size_t task_rows = 128;

// Bytes of W that a second-level cache holds beside what else it has to.
inline constexpr std::size_t near_weights = std::size_t{1} << 19;

// Rows of one task that multiplies by W: at most as many as stay in the second-level cache with their outputs, since
// each task packs W anew, and nearly equal. (See Blocks on divisions.)
template <class T>
std::size_t product_rows(const DenseLayer<T>& layer, std::size_t rows) {
    if (rows <= task_rows) return task_rows;
    constexpr std::size_t near = std::size_t{1} << 18;  // bytes
    const std::size_t most = std::max(task_rows, near / (std::max(layer.in, layer.out) * sizeof(T)));
    const std::size_t tasks = (rows + most - 1) / most;
    std::size_t each = (rows + tasks - 1) / tasks;
    while (rows % each == 1) ++each;  // of a single row the input gradient has other bits
    return each;
}

// Tasks for each thread: several, as threads may be held up, but one of AMX's kernels, which split X or dZ for each
// call.
template <class T>
std::size_t tasks_each(const DenseLayer<T>& layer, std::size_t m) {
    const KernelTable<T>& k = kernels<T>();
    return m >= k.many_rows && layer.out > 2 * k.panel_columns ? 1 : 4;
}

// Blocks a thread. Up to three rows of a batch read little but W, and some more wait for it where it is far: it comes
// faster in long pieces.
template <class T>
std::size_t blocks_each(const DenseLayer<T>& layer, std::size_t m) {
    constexpr std::size_t some = 16;
    const bool far = layer.in * layer.out * sizeof(T) > 4 * near_weights;
    return m <= 3 ? 1 : m <= some && far ? 2 : tasks_each(layer, m);
}

struct Block {
    std::size_t row, rows, column, columns;
};

// A (rows, columns) result cut into blocks for a team: whole rows where there are many, else columns too. Cuts fall
// on multiples of the units. The split never shows in a result. (Divisions are kept out of the way of small networks,
// whose whole step takes as long as a dozen of them.)
class Blocks {
public:
    Blocks(std::size_t rows, std::size_t row_unit, std::size_t columns, std::size_t column_unit, std::size_t threads,
           std::size_t each = 4)  // blocks a thread, if the columns are cut
        : rows_(rows), columns_(columns), row_step_(row_unit), column_step_(columns) {
        const std::size_t row_blocks = rows <= row_unit ? 1 : (rows + row_unit - 1) / row_unit;
        if (threads > 1) {
            const std::size_t column_units = (columns + column_unit - 1) / column_unit;
            const std::size_t wanted = std::clamp<std::size_t>(each * threads / row_blocks, 1, column_units);
            column_step_ = (column_units + wanted - 1) / wanted * column_unit;
            column_blocks_ = (columns + column_step_ - 1) / column_step_;
        }
        count_ = row_blocks * column_blocks_;
    }

    std::size_t count() const { return count_; }
    Block operator[](std::size_t task) const {
        std::size_t row = task * row_step_, column = 0;
        if (column_blocks_ > 1) {
            row = task / column_blocks_ * row_step_;
            column = task % column_blocks_ * column_step_;
        }
        return {row, std::min(row_step_, rows_ - row), column, std::min(column_step_, columns_ - column)};
    }

private:
    std::size_t rows_, columns_, row_step_, column_step_, column_blocks_ = 1, count_;
};

// The columns of W in each of several parts, of whole panels.
template <class T>
std::size_t part_columns(const DenseLayer<T>& layer, std::size_t parts) {
    const std::size_t panel = kernels<T>().panel_columns;
    return (layer.out + parts * panel - 1) / (parts * panel) * panel;
}

// One of these parts, of so many rows. The last has what is left: callers see to it that there is something
// (Network::keeps_columns).
template <class T>
Block column_part(const DenseLayer<T>& layer, std::size_t rows, std::size_t part, std::size_t parts) {
    const std::size_t most = part_columns(layer, parts), first = part * most;
    return {0, rows, first, std::min(most, layer.out - first)};
}

}  // namespace fusednet
