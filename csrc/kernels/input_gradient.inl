// The gradient of a dense layer's input, dX = (dZ·Wᵀ) ∘ f', cut into register tiles.
#pragma once

#include "matmul.inl"

namespace fusednet::FUSEDNET_SET {

// What becomes of a tile's sums: sum ∘ f' by the outputs of ReLU or tanh, which lie as dX does. Without outputs, the
// sum.
template <class T>
struct Gate {
    const T* output;
    Activation activation;

    static bool knows(Activation f) { return f == Activation::relu || f == Activation::tanh; }
    Gate from(size_t offset) const { return {output != nullptr ? output + offset : nullptr, activation}; }

    template <class Tile>
    FUSEDNET_INLINE void finish(const Tile& tile) const {
        const T* const y = output;
        if (y == nullptr) {
            tile([](auto sum, size_t) FUSEDNET_ALWAYS_INLINE { return sum; });
        } else if (activation == Activation::relu) {
            tile([y](auto sum, size_t j) FUSEDNET_ALWAYS_INLINE {
                return times_derivative<Activation::relu, T>(sum, load<T, decltype(sum)>(y + j));
            });
        } else {
            tile([y](auto sum, size_t j) FUSEDNET_ALWAYS_INLINE {
                return times_derivative<Activation::tanh, T>(sum, load<T, decltype(sum)>(y + j));
            });
        }
    }
};

// Some columns of dX, as many as the panel has, and some of the depth: dX + dZ · panel, or from zero at its beginning,
// and at its end through the gate, if there is one.
template <class T, class Ahead>
void multiply_block(const InputGradient<T>& g, const Panel<T>& columns, size_t column, const T* panel, size_t first,
                    size_t depth, Gate<T> gate, Ahead* ahead) {
    const T zeros[panel_columns<T>] = {};
    const T* start = first == 0 ? zeros : nullptr;
    if (first + depth < g.n) gate.output = nullptr;
    with_columns<T>(columns.width, [&](auto tile_columns) {
        for_each_product_tile<decltype(tile_columns)>(g.m, depth, [&](size_t i, auto height) {
            const size_t offset = i * g.lddx + column;
            read_ahead(g.ahead);
            product_tile<false, true, height.n, decltype(tile_columns), T>(g.dz + i * g.lddz + first, g.lddz, panel,
                                                                           columns.width, depth, start, g.dx + offset,
                                                                           g.lddx, gate.from(offset), nullptr, ahead);
        });
    });
}

template <class T>
void differentiate_columns(const InputGradient<T>& g, size_t column, size_t columns) {
    if (g.saved == nullptr) return;
    T* dx = g.dx + column;
    const T* mask = g.mask != nullptr ? g.mask + column : nullptr;
    differentiate_block(g.activation, g.saved + column, mask, g.lds, dx, g.lddx, g.m, columns,
                        [=](size_t i, size_t j, auto access) { return access.load(dx + i * g.lddx + j); });
}

// By columns: dX = dZ · Wᵀ, by blocks of W: a panel's rows by some of the depth. While one is multiplied, the next is
// transposed; or after that, where so few tiles would be interrupted every step or two, or three if that has to wait
// for W.
template <class T>
__attribute__((noinline)) void input_gradient_by_columns(const InputGradient<T>& g) {
    struct Block {
        size_t row, column;
    };
    const size_t longest = block_rows(g.n, transposed_block<T>), tiles = (g.m + tile_rows - 1) / tile_rows;
    const bool far = is_far<T>(g.k, g.ldw), overlap = tiles * block_columns<T> >= (far ? 5 : 4) * tile_vectors;
    const auto after = [&](const Block& b) {
        if (b.column + longest < g.n) return Block{b.row, b.column + longest};
        return Block{b.row + Panel<T>(g.k - b.row).columns, 0};
    };
    const auto depth_of = [&](const Block& b) { return at_most(g.n - b.column, longest); };
    const auto first_weight = [&](const Block& b) { return g.w + b.row * g.ldw + b.column; };
    const auto transposition = [&](const Block& b, T* panel) {
        const Panel<T> p(g.k - b.row);
        return Transposition<T>(first_weight(b), g.ldw, depth_of(b), p.columns, panel, p.width,
                                far ? first_weight(after(b)) : nullptr);
    };
    const bool gated = g.saved != nullptr && Gate<T>::knows(g.activation) && g.mask == nullptr && g.lds == g.lddx;
    const Gate<T> gate{gated ? g.saved : nullptr, g.activation};
    T* const panels[] = {g.scratch, overlap ? g.scratch + at_most(g.n, longest) * panel_columns<T> : g.scratch};
    Block b{0, 0};
    transposition(b, panels[0]).finish();
    for (size_t turn = 0; b.row < g.k; ++turn) {
        const T* panel = panels[turn % 2];
        const Panel<T> p(g.k - b.row);
        const Block next = after(b);
        const bool more = next.row < g.k;
        const size_t depth = depth_of(b);
        Transposition<T> ahead = transposition(next, panels[(turn + 1) % 2]);
        if (more && overlap) {
            ahead.spread(tiles, depth);
            multiply_block(g, p, b.row, panel, b.column, depth, gate, &ahead);
        } else {
            Prefetch<T> lines;
            if (more && far) {
                const Block later = after(next);
                const size_t rows = Panel<T>(g.k - later.row).columns;
                lines = Prefetch<T>({first_weight(later)}, g.ldw, rows, depth_of(later), tiles, depth);
            }
            multiply_block(g, p, b.row, panel, b.column, depth, gate, &lines);
        }
        if (more) ahead.finish();
        if (next.row > b.row && !gated) differentiate_columns(g, b.row, p.width);
        b = next;
    }
}

// Rows of W that are multiplied before their columns of dX are written: whole tiles, and vectors.
constexpr size_t strip_rows = 48;

// Rows of a tile of W. Eight that lie a multiple of 4096 bytes apart fill a set of the first-level cache, where it has
// eight ways; and a single vector of columns needs eight for as many chains as hide the latency. `tall`: taller
// ones, which go through dZ's panels less often, where those are slow to come.
template <class Columns, bool tall>
constexpr size_t strip_tile_rows = Columns::vectors == 1 ? 8 : at_most(tile_rows, tall ? 12 : 8);

// Elements of scratch for the gradient by m rows of dZ (m, n), or fewer.
template <class T>
size_t input_scratch(size_t m, size_t n) {
    const size_t by_columns = 2 * at_most(n, longest_block(transposed_block<T>)) * panel_columns<T>;
    const size_t by_rows = panels_width<T>(at_most(m, most_block_rows)) * n + strip_rows * panel_columns<T>;
    static_assert(strip_rows % lanes<T> == 0);
    return by_columns > by_rows ? by_columns : by_rows;  // each more than input_gradient_narrow takes
}

// Whether it is quicker to transpose dZ and what comes of it, not W. An element of those counts half as much again: no
// multiply-adds go on beside. To multiply one column of panels takes a third of the time of W's transposition, and some
// are nobody's; in the narrowest panel, which gives a tile too few chains, each takes a quarter more, and half more as
// measured on a Zen 5, where half of a register takes as long as all of it.
template <class T>
bool goes_by_rows(const InputGradient<T>& g) {
    const size_t width = panels_width<T>(g.m), weights = g.k * g.n;
    const size_t narrow = narrowest_panel<T> / (halves && g.zen == Zen::five ? 2 : 4);
    const size_t lost = width - g.m + (last_panel<T>(width) == narrowest_panel<T> ? narrow : 0);
    return g.m <= most_block_rows && 2 * lost * weights + 9 * width * (g.k + g.n) < 6 * weights;
}

// dx (m, rows) = sums (rows, m)ᵀ, the rows up to whole vectors.
template <class T>
void transpose_sums(const T* sums, size_t width, size_t rows, size_t m, T* dx, size_t lddx) {
    const size_t whole = m - m % block_columns<T>;
    for (size_t r = 0; r < rows; r += lanes<T>, sums += lanes<T> * width, dx += lanes<T>) {
        for (size_t i = 0; i < whole; i += block_columns<T>) transpose_block(sums + i, width, dx + i * lddx, lddx);
        if (whole == m) continue;
        T last[block_columns<T> * lanes<T>];
        transpose_block(sums + whole, width, last, lanes<T>);
        for (size_t i = whole; i < m; ++i) store(dx + i * lddx, load(last + (i - whole) * lanes<T>));
    }
}

// By rows of W, which are columns of dX: dXᵀ = W · dZᵀ, the same sums. W comes from memory once, as it lies there. Its
// rows are longer than the last steps of a tile, or goes_by_rows would say no.
template <class T>
__attribute__((noinline)) void input_gradient_by_rows(const InputGradient<T>& g) {
    const T zeros[panel_columns<T>] = {};
    const bool tall = halves && g.zen == Zen::none;
    // The transposition of half a panel reaches half a vector beyond its end: into these, which are not yet computed.
    T* const sums = g.scratch + panels_width<T>(g.m) * g.n;
    const auto for_each_panel = [&](const auto& body) {
        for (size_t j = 0; j < g.m;) {
            const Panel<T> panel(g.m - j);
            body(j, panel, g.scratch + j * g.n);
            j += panel.columns;
        }
    };
    for_each_panel([&](size_t j, const Panel<T>& panel, T* transposed) {
        Transposition<T>(g.dz + j * g.lddz, g.lddz, g.n, panel.columns, transposed, panel.width, nullptr).finish();
    });
    for (size_t k = 0; k < g.k; k += strip_rows) {
        const size_t rows = at_most(g.k - k, strip_rows), padded = whole_vectors<T>(rows);
        for_each_panel([&](size_t j, const Panel<T>& panel, const T* transposed) {
            with_columns<T>(panel.width, [&](auto columns) {
                const auto multiply = [&](size_t i, auto height) {
                    read_ahead(g.ahead);
                    product_tile<false, false, height.n, decltype(columns), T, Prefetch<T>>(
                        g.w + (k + i) * g.ldw, g.ldw, transposed, columns.width, g.n, zeros, sums + i * columns.width,
                        columns.width, Floor<T>{no_floor<T>}, nullptr, nullptr);
                };
                if (tall) {
                    for_each_row_tile<1, strip_tile_rows<decltype(columns), true>>(rows, multiply);
                } else {
                    for_each_row_tile<1, strip_tile_rows<decltype(columns), false>>(rows, multiply);
                }
            });
            // What is stored beyond the last row of W goes into the room of dX, as the zeros of a panel of W would.
            __builtin_memset(sums + rows * panel.width, 0, (padded - rows) * panel.width * sizeof(T));
            transpose_sums(sums, panel.width, rows, panel.columns, g.dx + j * g.lddx + k, g.lddx);
        });
        differentiate_columns(g, k, padded);
    }
}

// The last columns of dX, if they are narrow_columns: dot products with those rows of W, which have to repay the sums
// of lanes. Whoever has the last columns of a W that was split has as many.
template <class T>
__attribute__((noinline)) void input_gradient_narrow(const InputGradient<T>& g, size_t columns) {
    const size_t first = g.k - columns;
    const T zeros[lanes<T>] = {};
    T* panel = g.scratch;
    for (size_t p = 0; p < g.n; p += lanes<T>) {
        for (size_t j = first; j < g.k; ++j, panel += lanes<T>)
            store(panel, load_partial(g.w + j * g.ldw + p, at_most(g.n - p, lanes<T>)));
    }
    const DenseForward<T> f{g.dz,      g.lddz,  nullptr, 0,   nullptr, g.dx + first,
                            g.lddx,    nullptr, g.m,     g.n, columns, Activation::identity,
                            g.scratch, g.ahead};
    with_count<1, piece<T>>(columns, [&](auto count) { dot_all_rows<count.n>(f, f.x, f.k, zeros, 0); });
    differentiate_columns(g, first, columns);
}

template <class T>
void input_gradient_by_tiles(InputGradient<T> g) {
    if constexpr (halves) {
        const size_t narrow = g.n >= lanes<T> ? narrow_columns<T>(g.k) : 0;
        if (narrow > 0) input_gradient_narrow(g, narrow);
        g.k -= narrow;
        if (g.k == 0) return;
    }
    goes_by_rows(g) ? input_gradient_by_rows(g) : input_gradient_by_columns(g);
}

template <class T>
void input_gradient(const InputGradient<T>& g) {
    if (g.k == 1 && g.lddx == 1) {  // W is one row: each row of dX is a dot product
        dot_rows(g.dz, g.lddz, g.w, g.m, g.n, T(0), g.dx, g.lddx, nullptr);
        differentiate_columns(g, 0, 1);
    } else if (g.n == 1 && g.ldw == 1 && g.saved != nullptr) {  // W is one column: nothing to add up
        differentiate_block(
            g.activation, g.saved, g.mask, g.lds, g.dx, g.lddx, g.m, g.k,
            [=](size_t i, size_t j, auto access) { return broadcast(g.dz[i * g.lddz]) * access.load(g.w + j); });
    } else if (g.m == 1) {  // a dot product with each row of W, whose transposition would take longer
        dot_rows(g.w, g.ldw, g.dz, g.k, g.n, T(0), g.dx, 1, nullptr);
        differentiate_columns(g, 0, g.k);
    } else {
        input_gradient_by_tiles(g);
    }
}

}  // namespace fusednet::FUSEDNET_SET
