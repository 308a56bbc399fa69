// A zeroed, 64-byte aligned array that lives as long as anything looks at it: slices and NumPy views share it.
#pragma once

#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fusednet {

constexpr std::size_t alignment = 64;
constexpr std::size_t page = std::size_t{1} << 12;
constexpr std::size_t huge_page = std::size_t{1} << 21;  // fewer addresses for the processor to translate

inline void advise_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__)
    madvise(memory, bytes, MADV_HUGEPAGE);
#endif
}

template <class T>
class Buffer {
public:
    Buffer() = default;
    // Of several that one loop reads and writes side by side, each starts in a quarter of a page of its own: a load is
    // taken to depend on every pending store to the same place in another page, and waits for it.
    explicit Buffer(std::size_t size, std::size_t quarter = 0) : size_(size) {
        if (size > (std::numeric_limits<std::size_t>::max() - 2 * huge_page) / sizeof(T)) throw std::bad_alloc();
        std::size_t bytes = size * sizeof(T), shift = 0;
        std::align_val_t align{alignment};
        if (bytes >= 4 * page) {
            align = std::align_val_t{page};
            shift = quarter * (page / 4);
            bytes += shift;
        }
        if (bytes >= huge_page / 4) {
            align = std::align_val_t{huge_page};
            bytes = (bytes + huge_page - 1) / huge_page * huge_page;
        }
        void* memory = ::operator new(bytes, align);
        if (align == std::align_val_t{huge_page}) advise_huge_pages(memory, bytes);
        T* first = reinterpret_cast<T*>(static_cast<std::byte*>(memory) + shift);
        std::memset(first, 0, size * sizeof(T));
        data_ = std::shared_ptr<T>(first, [memory, align](T*) { ::operator delete(memory, align); });
    }

    T* data() const { return data_.get(); }
    std::size_t size() const { return size_; }
    const std::shared_ptr<T>& owner() const { return data_; }

    // Whether memory from `low` on, up to `high`, has bytes in common with it.
    bool overlaps(const void* low, const void* high) const {
        const std::less<const void*> before;
        return before(low, data() + size_) && before(data(), high);
    }

    Buffer slice(std::size_t offset, std::size_t size) const {
        Buffer part;
        part.data_ = std::shared_ptr<T>(data_, data_.get() + offset);
        part.size_ = size;
        return part;
    }

private:
    std::shared_ptr<T> data_;
    std::size_t size_ = 0;
};

}  // namespace fusednet
