// Memory that ends where nobody may read: an access beyond it ends the process, without a sanitizer too.
#pragma once

#include <cstddef>

#if defined(_WIN32)

#include <vector>

namespace fusednet::testing {

using GuardedBytes = std::vector<unsigned char>;  // only a sanitizer sees it there

inline std::size_t page_size() { return 4096; }
inline void forbid(void*, std::size_t) {}

}  // namespace fusednet::testing

#else

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>
#include <utility>

namespace fusednet::testing {

inline std::size_t page_size() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

// Whole pages: whoever touches them from now on ends the process.
inline void forbid(void* pages, std::size_t size) {
    if (mprotect(pages, size, PROT_NONE) != 0) throw std::bad_alloc();
}

// Where it is whole pages, an access before it ends the process, too.
class GuardedBytes {
public:
    GuardedBytes(std::size_t size, unsigned char filler) : size_(size) {
        const std::size_t page = page_size(), pages = (size + page - 1) / page * page;
        mapped_ = page + pages + page;
        map_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map_ == MAP_FAILED) throw std::bad_alloc();
        unsigned char *const begin = static_cast<unsigned char*>(map_) + page, *const end = begin + pages;
        forbid(map_, page);
        forbid(end, page);
        data_ = end - size;
        std::memset(data_, filler, size);
    }
    GuardedBytes(const GuardedBytes& other) : GuardedBytes(other.size_, 0) { std::memcpy(data_, other.data_, size_); }
    GuardedBytes(GuardedBytes&& other) noexcept { swap(other); }
    GuardedBytes& operator=(GuardedBytes other) noexcept {
        swap(other);
        return *this;
    }
    ~GuardedBytes() {
        if (map_ != nullptr) munmap(map_, mapped_);
    }

    unsigned char* data() { return data_; }
    const unsigned char* data() const { return data_; }
    std::size_t size() const { return size_; }

private:
    void swap(GuardedBytes& other) noexcept {
        std::swap(map_, other.map_);
        std::swap(mapped_, other.mapped_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
    }

    void* map_ = nullptr;
    std::size_t mapped_ = 0;
    unsigned char* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace fusednet::testing

#endif

namespace fusednet::testing {

// Rows of a page each, and after each of them one that nobody may touch.
class GuardedRows {
public:
    explicit GuardedRows(std::size_t rows) : bytes_(rows * stride(), 0) {
        for (std::size_t i = 0; i < rows; ++i) forbid(data() + i * stride() + page_size(), page_size());
    }

    unsigned char* data() { return bytes_.data(); }
    static std::size_t stride() { return 2 * page_size(); }

private:
    GuardedBytes bytes_;
};

}  // namespace fusednet::testing
