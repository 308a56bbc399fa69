// A zeroed, 64-byte aligned array that lives as long as anything looks at it: slices and NumPy views share it.
#pragma once

#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

namespace fusednet {

constexpr std::size_t alignment = 64;

template <class T>
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(std::size_t size) : size_(size) {
        if (size > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_alloc();
        void* memory = ::operator new(size * sizeof(T), std::align_val_t{alignment});
        std::memset(memory, 0, size * sizeof(T));
        data_ = std::shared_ptr<T>(static_cast<T*>(memory),
                                   [](T* p) { ::operator delete(p, std::align_val_t{alignment}); });
    }

    T* data() const { return data_.get(); }
    std::size_t size() const { return size_; }
    const std::shared_ptr<T>& owner() const { return data_; }

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
