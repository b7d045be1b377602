// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A table whose rows must be fetched before they can be read: from a disk, a cache, another
// machine. One object for each thread, because it holds the thread's reader and the memory rows
// arrive in.

#include <engram/core/workspace.hpp>
#include <engram/storage/row_extent.hpp>
#include <engram/storage/table.hpp>

ENGRAM_BEGIN_NAMESPACE

/// One fetched row to its elements.
template <class Codec, class Out>
struct DecodeBody {
  Codec codec;
  RowBytes row;
  Index width;
  Out* out;

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    decode_row(lanes, codec, row, width, out);
  }
};

/// A row as it was fetched, codes and then scales, to its elements; null: no row, zeros.
template <class Codec, class Out>
ENGRAM_ALWAYS_INLINE void decode_fetched(Codec codec, const std::byte* row, const RowShape& shape,
                                         Index width, Out* out) noexcept {
  if (row == nullptr) {
    for (Index d = 0; d < width; ++d) out[d] = Out{};
    return;
  }
  const RowBytes at{row, shape.scale_bytes > 0 ? row + shape.row_bytes : nullptr};
  run_items(DecodeBody<Codec, Out>{codec, at, width, out}, {0, 1});
}

/// A FetchStore's rows, read through a codec with one reader. Refers to the store and to the
/// caller's memory; moves, is not copied. Not for two threads at once: threads that share a layer's
/// call have a FetchTable each, and a layer over it each.
template <class Store, class Codec>
class FetchTable {
  static_assert(check_fetch_store<Store>());
  static_assert(check_row_codec<Codec>());
  using Reader = decltype(std::declval<const Store&>().reader());

 public:
  /// Bytes of memory for batches of `rows` rows. More rows a batch keep a slow store busier.
  static Index memory_bytes(const Store& store, Index rows) noexcept {
    return rows * (store.row_bytes() + store.scale_bytes()) + rows * Index{sizeof(RowId)} +
           2 * Index{Workspace::alignment};
  }

  /// memory  at least memory_bytes(store, 1); rows are fetched in batches that fit it.
  ///
  /// Fails as Table::make, and with workspace_small.
  ENGRAM_ALWAYS_INLINE static Result<FetchTable> make(const Store& store, Codec codec,
                                                      Index row_width, View<std::byte, 1> memory) {
    if (const std::string fault = table_fault(store, codec, row_width); !fault.empty())
      return fail(Code::mismatch, {"table: ", fault});
    if (memory.size() < memory_bytes(store, 1))
      return fail(Code::workspace_small,
                  {"table: ", memory.size(), " bytes to fetch rows into, expected at least ",
                   memory_bytes(store, 1)},
                  memory_bytes(store, 1));
    return FetchTable(store, codec, row_width, memory);
  }

  ENGRAM_ALWAYS_INLINE FetchTable(FetchTable&&) = default;
  FetchTable(const FetchTable&) = delete;
  ENGRAM_ALWAYS_INLINE ~FetchTable() = default;

  Index num_rows() const noexcept { return store_->num_rows(); }
  Index row_width() const noexcept { return row_width_; }

  /// As Table::gather; status io and others also as the reader says, then `out` is undefined.
  template <class Row, Element Out>
  ENGRAM_ALWAYS_INLINE Status gather(View<Row, 2> row_ids, View<Out, 2> out,
                                     const CpuDevice& device = {}) noexcept {
    const View<const std::remove_const_t<Row>, 2> rows = row_ids;
    if (!device.valid()) return {Code::invalid_config};
    if (Status s = check_gather_shapes(rows, row_width_, out); !s.ok()) return s;
    if (Status s = check_row_ids(rows, num_rows()); !s.ok()) return s;
    device.wait();
    const Status read = gather_share(rows, out, device.share.of(rows.extent(0)));
    return device.agree(read.ok()) || !read.ok() ? read : Status{Code::io};
  }

 private:
  template <class Row, Element Out>
  ENGRAM_ALWAYS_INLINE Status gather_share(View<const Row, 2> rows, View<Out, 2> out,
                                           ItemRange tokens) noexcept {
    const Index columns = rows.extent(1);
    const ItemRange slots = {tokens.begin * columns, tokens.end * columns};
    for (Index at = slots.begin; at < slots.end;) {
      const Index begin = at;
      Index count = 0;
      for (; at < slots.end && count < batch_; ++at)
        if (const auto row = static_cast<Index>(rows(at / columns, at % columns)); row >= 0)
          ids_[count++] = RowId{row};
      if (Status s = fetch(count); !s.ok()) return s;
      decode(rows, out, {begin, at});
    }
    return {};
  }

  FetchTable(const Store& store, Codec codec, Index row_width, View<std::byte, 1> memory)
      : store_(&store), reader_(store.reader()), codec_(codec), row_width_(row_width) {
    const Index each = store.row_bytes() + store.scale_bytes();
    batch_ = (memory.size() - 2 * Index{Workspace::alignment}) / (each + Index{sizeof(RowId)});
    Workspace parts(memory);
    ids_ = parts.take<RowId>(batch_);
    bytes_ = View<std::byte, 1>(parts.take<std::byte>(batch_ * each), batch_ * each);
  }

  Status fetch(Index count) noexcept {
    if (count == 0) return {};
    Ticket ticket;
    const Index bytes = count * (store_->row_bytes() + store_->scale_bytes());
    if (Status s =
            reader_.submit(View<const RowId, 1>(ids_, count), bytes_.slice(0, bytes), ticket);
        !s.ok())
      return s;
    return reader_.wait(ticket);
  }

  template <class Row, Element Out>
  void decode(View<const Row, 2> rows, View<Out, 2> out, ItemRange slots) const noexcept {
    const RowShape shape{num_rows(), store_->row_bytes(), store_->scale_bytes()};
    const std::byte* next = bytes_.data();
    for (Index at = slots.begin; at < slots.end; ++at) {
      const Index t = at / rows.extent(1), h = at % rows.extent(1);
      const bool is_row = rows(t, h) >= 0;
      decode_fetched(codec_, is_row ? next : nullptr, shape, row_width_,
                     out.data() + t * out.stride(0) + h * row_width_);
      next += is_row ? shape.row_bytes + shape.scale_bytes : 0;
    }
  }

  const Store* store_;
  Reader reader_;
  Codec codec_;
  Index row_width_;
  Index batch_ = 0;
  RowId* ids_ = nullptr;
  View<std::byte, 1> bytes_;
};

ENGRAM_END_NAMESPACE
