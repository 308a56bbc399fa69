// A dense layer's output of a few rows, which wait for W: how they go through it depends on where it is.
#pragma once

#include "prefetch.inl"
#include "register_tile.inl"

namespace fusednet::FUSEDNET_SET {

// Up to so many rows give a tile fewer chains than hide the latency.
constexpr size_t few_rows = (row_vectors - 1) / tile_vectors;

// The vectors that few rows are multiplied by at a time: enough chains for the latency, and with the vectors themselves
// no more registers than a whole tile takes.
template <size_t rows>
constexpr size_t few_rows_vectors =
    rows == 1                                                        ? row_vectors
    : (rows + 1) * row_vectors / 2 <= (tile_rows + 1) * tile_vectors ? row_vectors / 2
                                                                     : row_vectors / 2 - 1;

// Few rows: C (rows, n) = start + A (rows, depth) · B (depth, n) over whole vectors, up to `most` at a time, in place
// where start is null.
template <size_t rows, size_t most, class T>
FUSEDNET_INLINE void product_columns(const T* a, size_t lda, const T* b, size_t ldb, size_t depth, const T* start, T* c,
                                     size_t ldc, size_t n, T floor) {
    for (size_t j = 0, left = n / lanes<T>; left > 0;) {
        // The last two nearly equal: of few vectors W comes more slowly.
        const size_t count = left <= most ? left : left < 2 * most ? (left + 1) / 2 : most;
        with_count<1, most>(count, [&](auto vectors) {
            static_assert(!ends_by_rows<rows, TileColumns<Vec<T>, vectors.n>>);  // a block may be of one step
            product_tile<false, false, rows, TileColumns<Vec<T>, vectors.n>, T, Prefetch<T>>(
                a, lda, b + j, ldb, depth, start != nullptr ? start + j : nullptr, c + j, ldc, Floor<T>{floor}, nullptr,
                nullptr);
        });
        j += count * lanes<T>;
        left -= count;
    }
}

// Whether W is on its way from a third-level cache to a core for which it pays to know. (Measured on Zen 4 and 5: how
// others fetch it is another matter.)
template <class T>
bool is_third_level(const DenseForward<T>& f) {
    constexpr size_t most = size_t{3} << 22;
    return f.zen != Zen::none && is_far<T>(f.k, f.ldw) && f.k * f.ldw * sizeof(T) <= most;
}

// As many rows of W as are best read side by side where it is far away: each is a stream that the processor fetches
// ahead. Fewer where they share a set of the first-level cache, of a Zen 4's eight lines.
constexpr size_t streams = 12, crowded_streams = 6;

// One row of X by so many of W: y (n) = start + x (count) · W (count, n) over whole vectors, in place where start is
// null.
template <size_t count, class T>
void product_streams(const T* x, const T* w, size_t ldw, const T* start, T* y, size_t n, T floor) {
    Vec<T> factor[count];
    for (size_t d = 0; d < count; ++d) factor[d] = broadcast(x[d]);
    for (size_t j = 0; j + lanes<T> <= n; j += lanes<T>) {
        Vec<T> sum = load((start != nullptr ? start : y) + j);
#pragma GCC unroll 12
        for (size_t d = 0; d < count; ++d) sum = fma(factor[d], load(w + d * ldw + j), sum);
        store(y + j, clamp_below(sum, floor));
    }
}

// What a block of the depth is added to: the bias, or Y itself, with zeros where it begins without a bias.
template <class T>
const T* block_start(const DenseForward<T>& f, bool begin) {
    for (size_t i = 0; begin && f.bias == nullptr && i < f.m; ++i)
        __builtin_memset(f.y + i * f.ldy, 0, f.n * sizeof(T));
    return begin ? f.bias : nullptr;
}

// Y = X·W + b for few rows. Where W is far away it comes fastest in the order in which it lies there: as many of its
// rows as fit into half of the first-level cache, or eight, before the next; where those are few, a single row of X
// takes them as streams. (With vectors of 16 bytes that has too many loads.) Returns the columns done: whole vectors.
template <class T>
FUSEDNET_INLINE size_t forward_few_rows(const DenseForward<T>& f, bool far, T final_floor) {
    const size_t near = first_level_cache / 2 / (f.n * sizeof(T));
    const bool streaming = FUSEDNET_VECTOR_BYTES > 16 && far && f.m == 1 && near < streams;
    const bool crowded = f.zen == Zen::four && column_sets(f.ldw * sizeof(T)) == 1 && is_third_level(f);
    const size_t steps = !far ? f.k : streaming ? (crowded ? crowded_streams : streams) : near > 8 ? near : 8;
    for (size_t p = 0; p < f.k; p += steps) {
        const size_t block = at_most(f.k - p, steps);
        const T floor = p + block == f.k ? final_floor : no_floor<T>;
        const T* const start = block_start(f, p == 0 && !f.continued);
        const T* const w = f.w + p * f.ldw;
        if (streaming && block == streams) {
            product_streams<streams>(f.x + p, w, f.ldw, start, f.y, f.n, floor);
        } else if (streaming && block == crowded_streams) {
            product_streams<crowded_streams>(f.x + p, w, f.ldw, start, f.y, f.n, floor);
        } else {
            with_count<1, few_rows>(f.m, [&](auto rows) {
                product_columns<rows.n, few_rows_vectors<rows.n>, T>(f.x + p, f.ldx, w, f.ldw, block, start, f.y, f.ldy,
                                                                     f.n, floor);
            });
        }
    }
    return f.n / lanes<T> * lanes<T>;
}

// The most rows that take W from a third-level cache by strips of its columns as wide as there are registers for sums:
// the longer the pieces of its rows, the faster they come. Of a block of the depth, so that the lines that two strips
// share are near when the next one is read. (Two rows gain nothing by it on a Zen 5.)
constexpr size_t third_level_rows = 6;
template <size_t rows>
constexpr size_t third_level_vectors = rows == 2   ? 8
                                       : rows == 3 ? 7
                                                   : 4;

template <class T>
bool goes_by_strips(const DenseForward<T>& f) {
    const size_t least = f.zen == Zen::four ? 2 : 3;
    return halves && f.m >= least && f.m <= third_level_rows && f.n >= panel_columns<T> && is_third_level(f);
}

// So many columns, whole vectors, of a block of the depth from p on.
template <class T>
void forward_strips(const DenseForward<T>& f, size_t p, size_t block, size_t columns, T floor) {
    if constexpr (halves) {
        const T* const start = block_start(f, p == 0 && !f.continued);
        with_count<2, third_level_rows>(f.m, [&](auto rows) {
            product_columns<rows.n, third_level_vectors<rows.n>, T>(f.x + p, f.ldx, f.w + p * f.ldw, f.ldw, block,
                                                                    start, f.y, f.ldy, columns, floor);
        });
    }
}

}  // namespace fusednet::FUSEDNET_SET
