#include "core/statistics.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <vector>

#include "core/check.h"
#include "kernels/dispatch.h"

namespace fusednet {

namespace {

// Rows of a matrix as they are, whether or not they are finite.
void read(const InputMatrix& m, std::size_t first, std::size_t count, double* out) {
    kernels<double>().gather({m.data, m.dtype, m.row_stride, m.column_stride, nullptr, first, count, m.columns}, out,
                             m.columns);
}

// The first one.
std::size_t heaviest_row(const InputMatrix& weight) {
    std::size_t heaviest = 0;
    double most = 0, w[256];
    for (std::size_t i = 0; i < weight.rows; ++i) {
        if (i % std::size(w) == 0) read(weight, i, std::min(std::size(w), weight.rows - i), w);
        if (w[i % std::size(w)] > most) most = w[i % std::size(w)], heaviest = i;
    }
    return heaviest;
}

// Sums over the rows, for each column: rows that are short are taken several at a time, side by side, since additions
// to one sum wait for each other.
class ColumnSums {
public:
    explicit ColumnSums(std::size_t columns)
        : columns_(columns), sums_((least + columns - 1) / columns * columns, 0.0) {}

    std::size_t size() const { return sums_.size(); }
    double& operator[](std::size_t i) { return sums_[i]; }
    double of_column(std::size_t j) const {
        double sum = 0;
        for (std::size_t i = j; i < sums_.size(); i += columns_) sum += sums_[i];
        return sum;
    }

private:
    static constexpr std::size_t least = 16;

    std::size_t columns_;
    std::vector<double> sums_;
};

}  // namespace

double r2(const InputMatrix& prediction, const InputMatrix& target, const InputMatrix& weight) {
    const std::size_t m = target.rows, n = target.columns;
    check(n > 0, "expected at least one column");
    if (m < 2) return std::numeric_limits<double>::quiet_NaN();
    ColumnSums total(n), sum(n), residual(n), spread(n);
    const std::size_t period = total.size(), together = period / n;
    const std::size_t block = std::max<std::size_t>(4096 / period, 1) * together;  // rows
    std::vector<double> y(block * n), p(block * n), w(block * n, 1.0), row_weight(block);
    const auto for_each_element = [&](bool predicted, const auto& add) {
        for (std::size_t first = 0; first < m; first += block) {
            const std::size_t count = std::min(block, m - first), size = count * n;
            read(target, first, count, y.data());
            if (predicted) read(prediction, first, count, p.data());
            if (!weight.empty()) {
                read(weight, first, count, row_weight.data());
                for (std::size_t i = 0; i < count; ++i) std::fill_n(w.data() + i * n, n, row_weight[i]);
            }
            for (std::size_t k = 0; k < size; k += period) {
                const std::size_t here = std::min(period, size - k);
                for (std::size_t i = 0; i < here; ++i) add(i, k + i);
            }
        }
    };
    // From the heaviest row: a constant is met exactly, and what is far from all that counts costs no digits.
    std::vector<double> mean(period);
    const std::size_t origin = heaviest_row(weight);
    for (std::size_t i = 0; i < together; ++i) read(target, origin, 1, mean.data() + i * n);
    for_each_element(false, [&](std::size_t i, std::size_t k) {
        total[i] += w[k];
        sum[i] += w[k] * (y[k] - mean[i]);
    });
    for (std::size_t i = 0; i < period; ++i) mean[i] += sum.of_column(i % n) / total.of_column(i % n);
    for_each_element(true, [&](std::size_t i, std::size_t k) {
        residual[i] += w[k] * (y[k] - p[k]) * (y[k] - p[k]);
        spread[i] += w[k] * (y[k] - mean[i]) * (y[k] - mean[i]);
    });
    double scores = 0;
    for (std::size_t j = 0; j < n; ++j) {
        const double r = residual.of_column(j), s = spread.of_column(j);
        scores += s != 0 || std::isnan(r) ? 1 - r / s : r == 0 ? 1.0 : 0.0;
    }
    return scores / static_cast<double>(n);
}

template <class T>
void add_values(const Moments& moments, const T* values, const std::int64_t* index, std::size_t m) {
    const std::size_t n = moments.columns;
    for (std::size_t i = 0; i < m; ++i, values += n) {
        const std::size_t row = index != nullptr ? static_cast<std::size_t>(index[i]) : i;
        const double share = 1 / ++moments.count[row];
        double *const mean = moments.mean + row * n, *const squares = moments.squares + row * n;
        for (std::size_t j = 0; j < n; ++j) {
            const double value = static_cast<double>(values[j]), distance = value - mean[j];
            mean[j] += distance * share;
            squares[j] += distance * (value - mean[j]);
        }
    }
}

template void add_values<float>(const Moments&, const float*, const std::int64_t*, std::size_t);
template void add_values<double>(const Moments&, const double*, const std::int64_t*, std::size_t);

}  // namespace fusednet
