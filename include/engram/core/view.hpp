// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A non-owning array of up to four dimensions over the caller's memory. The last extent is
// contiguous, the others have any stride, because engines pad their rows. The memory space is part
// of the type. Trivially copyable, so it also travels to a kernel by value.

#include <engram/core/ids.hpp>
#include <engram/core/space.hpp>

#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

ENGRAM_BEGIN_NAMESPACE

/// A type that says where its memory is: a View.
template <class C>
concept KnowsItsSpace = MemorySpace<typename std::remove_cvref_t<C>::space_type>;

/// A contiguous container in host memory: std::vector, std::array, std::span.
template <class C>
concept HostContainer = requires(C& c) {
  c.data();
  c.size();
  requires !KnowsItsSpace<C>;
};

/// T elements (const T: read only), row-major, last extent contiguous, not owned.
///
/// Copying copies the handle. No call checks an index: the functions that take views do.
template <class T, int Rank, MemorySpace Space = HostSpace>
class View {
  static_assert(Rank >= 1 && Rank <= 4, "engram: a View has one to four dimensions");

 public:
  using element_type = T;
  using space_type = Space;
  static constexpr int rank = Rank;

  /// Null: no memory, every extent 0.
  constexpr View() = default;

  /// Dense [extents...] at `data`.
  template <std::convertible_to<Index>... Extents>
    requires(sizeof...(Extents) == Rank)
  ENGRAM_HD constexpr explicit View(T* data, Extents... extents)
      : data_(data), extent_{static_cast<Index>(extents)...} {
    stride_[Rank - 1] = 1;
    for (int r = Rank - 1; r > 0; --r) stride_[r - 1] = stride_[r] * extent_[r];
  }

  /// The elements of a contiguous container (std::vector, std::span, an array), host memory.
  template <HostContainer C>
    requires(Rank == 1 && std::is_same_v<Space, HostSpace> &&
             std::is_convertible_v<decltype(std::declval<C&>().data()), T*>)
  constexpr View(C&& c)  // NOLINT(google-explicit-constructor): a container is its own view
      : View(c.data(), static_cast<Index>(c.size())) {}

  /// T to const T, and a space to one that is reachable from no more places.
  template <class U, class From>
    requires(!(std::is_same_v<U, T> &&
               std::is_same_v<From, Space>)&&std::is_convertible_v<U (*)[], T (*)[]> &&
             SpaceConvertible<From, Space>)
  ENGRAM_HD constexpr View(const View<U, Rank, From>& other)  // NOLINT(google-explicit-constructor)
      : data_(other.data()) {
    for (int r = 0; r < Rank; ++r) {
      extent_[r] = other.extent(r);
      stride_[r] = other.stride(r);
    }
  }

  ENGRAM_HD constexpr T* data() const noexcept { return data_; }
  ENGRAM_HD constexpr Index extent(int r) const noexcept { return extent_[r]; }
  /// Distance in elements between neighbours along dimension r; the last one is 1.
  ENGRAM_HD constexpr Index stride(int r) const noexcept { return stride_[r]; }

  ENGRAM_HD constexpr Index size() const noexcept {
    Index n = 1;
    for (int r = 0; r < Rank; ++r) n *= extent_[r];
    return n;
  }

  template <std::convertible_to<Index>... Indices>
    requires(sizeof...(Indices) == Rank)
  ENGRAM_HD constexpr T& operator()(Indices... indices) const noexcept {
    const Index at[Rank] = {static_cast<Index>(indices)...};
    Index offset = at[Rank - 1];
    for (int r = 0; r + 1 < Rank; ++r) offset += at[r] * stride_[r];
    return data_[offset];
  }

  /// The same memory with neighbours along dimension R `stride` elements apart. The last dimension
  /// stays contiguous, so R < rank - 1.
  template <int R>
  ENGRAM_HD constexpr View with_stride(Index stride) const noexcept {
    static_assert(R >= 0 && R < Rank - 1, "engram: a View's last dimension is contiguous");
    View v = *this;
    v.stride_[R] = stride;
    return v;
  }

  /// Elements [begin, begin + count) of dimension 0.
  ENGRAM_HD constexpr View slice(Index begin, Index count) const noexcept {
    View v = *this;
    if (data_ != nullptr) v.data_ += begin * stride_[0];
    v.extent_[0] = count;
    return v;
  }

  /// The same elements as a body sees them, which runs where they are. For devices.
  ENGRAM_HD constexpr View<T, Rank> for_body() const noexcept {
    View<T, Rank> v;
    v.data_ = data_;
    for (int r = 0; r < Rank; ++r) {
      v.extent_[r] = extent_[r];
      v.stride_[r] = stride_[r];
    }
    return v;
  }

  /// Element i of dimension R, as a view of one dimension less: rows.at<1>(layer) is [T, H].
  /// The last dimension stays, so R < rank - 1.
  template <int R>
  ENGRAM_HD constexpr View<T, Rank - 1, Space> at(Index i) const noexcept {
    static_assert(R >= 0 && R < Rank - 1, "engram: a View's last dimension is contiguous");
    View<T, Rank - 1, Space> v;
    v.data_ = data_ != nullptr ? data_ + i * stride_[R] : nullptr;
    for (int from = 0, to = 0; from < Rank; ++from) {
      if (from == R) continue;
      v.extent_[to] = extent_[from];
      v.stride_[to++] = stride_[from];
    }
    return v;
  }

 private:
  template <class, int, MemorySpace>
  friend class View;

  T* data_ = nullptr;
  Index extent_[Rank] = {};
  Index stride_[Rank] = {};
};

/// A View of memory of the GPU.
template <class T, int Rank>
using DeviceView = View<T, Rank, DeviceSpace>;

/// View(container) reads the container: std::vector<int> gives View<const int, 1>.
template <HostContainer C>
View(const C&)
    -> View<const std::remove_reference_t<decltype(*std::declval<const C&>().data())>, 1>;

/// View(view) of a view keeps its space and forbids writing.
template <class T, class Space>
View(const View<T, 1, Space>&) -> View<const T, 1, Space>;

/// The view that CPU loops take: of memory that the host reaches.
template <class T, int Rank, class Space>
constexpr View<T, Rank> on_host(View<T, Rank, Space> view) noexcept {
  static_assert(SpaceConvertible<Space, HostSpace>,
                "engram: this call runs on the CPU and cannot reach device memory");
  return view;
}

ENGRAM_END_NAMESPACE
