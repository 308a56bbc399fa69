// Memory that ends where nobody may read: an access beyond it ends the process, without a sanitizer too. Where it is
// whole pages, so does one before it.
#pragma once

#include <cstddef>

#if defined(_WIN32)

#include <vector>

namespace fusednet::testing {
using GuardedBytes = std::vector<unsigned char>;  // only a sanitizer sees it there
}

#else

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>
#include <utility>

namespace fusednet::testing {

class GuardedBytes {
public:
    GuardedBytes(std::size_t size, unsigned char filler) : size_(size) {
        const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), pages = (size + page - 1) / page * page;
        mapped_ = page + pages + page;
        map_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map_ == MAP_FAILED) throw std::bad_alloc();
        unsigned char *const begin = static_cast<unsigned char*>(map_) + page, *const end = begin + pages;
        if (mprotect(map_, page, PROT_NONE) != 0 || mprotect(end, page, PROT_NONE) != 0) throw std::bad_alloc();
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
    unsigned char operator[](std::size_t i) const { return data_[i]; }

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
