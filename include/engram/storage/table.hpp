// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A table: all rows of one layer, as a store that holds the bytes and a codec that reads them, with
// the digest of the layout it was made for.

#include <engram/storage/gather.hpp>
#include <engram/storage/sigbus_guard.hpp>
#include <engram/storage/store.hpp>

#include <string>

ENGRAM_BEGIN_NAMESPACE

/// What a layer needs of a table: rows [T, H] -> elements [T, H * row_width()], as share i of n of
/// a device's threads. When one of them fails, all of them get a failure.
template <class T>
concept RowTable = requires(T& table, View<const std::int32_t, 2> rows, View<float, 2> out) {
  { table.num_rows() } -> std::same_as<Index>;
  { table.row_width() } -> std::same_as<Index>;
  { table.gather(rows, out, CpuDevice()) } -> std::same_as<Status>;
};

ENGRAM_BEGIN_LOOPS

/// Why a store cannot hold rows of `width` elements in a codec's format; empty when it can.
template <class Store, class Codec>
std::string table_fault(const Store& store, const Codec& codec, Index width) {
  const Index code_bytes = codec.code_bytes(width);
  const Index scale_bytes = codec.scale_bytes(width);
  if (code_bytes < 1 || scale_bytes < 0)
    return sentence({"no row of this codec has ", width, " elements"});
  if (store.row_bytes() != code_bytes)
    return sentence({"the store's rows have ", store.row_bytes(), " bytes, expected ", code_bytes,
                     " for ", width, " elements"});
  if (store.scale_bytes() != scale_bytes)
    return sentence({"the store's rows have ", store.scale_bytes(), " bytes of scales, expected ",
                     scale_bytes, " for ", width, " elements"});
  return {};
}

ENGRAM_END_LOOPS

/// A store's rows, read through a codec. Owns both. Const calls may run concurrently.
template <class Store, class Codec>
class Table {
  static_assert(check_addressable_store<Store>());
  static_assert(check_row_codec<Codec>());

 public:
  /// row_width      E, elements of a row.
  /// layout_digest  of the layout whose row ids the table answers to, or empty: not known.
  ///
  /// Fails with mismatch when the store's rows do not have the bytes of E elements.
  ENGRAM_ALWAYS_INLINE static Result<Table> make(Store store, Codec codec, Index row_width,
                                                 std::string layout_digest = {}) {
    if (const std::string fault = table_fault(store, codec, row_width); !fault.empty())
      return fail(Code::mismatch, {"table: ", fault});
    return Table(std::move(store), codec, row_width, std::move(layout_digest));
  }

  // Spelled out so that they are inlined: copies compiled for one processor must not be shared.
  ENGRAM_ALWAYS_INLINE Table(Table&&) = default;
  ENGRAM_ALWAYS_INLINE Table& operator=(Table&&) = default;
  ENGRAM_ALWAYS_INLINE ~Table() = default;

  /// ok, or mismatch: the table was made for another layout than that of this digest, or has not
  /// `rows` rows, those of its layer (LayerLayout::rows, with the model's padding). A table or a
  /// layout without a digest (empty) is compared by its rows alone.
  ENGRAM_ALWAYS_INLINE Result<void> expect(Index rows, const std::string& digest = {}) const {
    if (num_rows() != rows)
      return fail(Code::mismatch, {"table: ", num_rows(), " rows, expected ", rows});
    if (!digest.empty() && !layout_digest_.empty() && digest != layout_digest_)
      return fail(Code::mismatch, {"table: made for the layout ", layout_digest_, ", expected ",
                                   digest, "; its rows would be another's"});
    return {};
  }

  Index num_rows() const noexcept { return store_.num_rows(); }
  Index row_width() const noexcept { return row_width_; }
  const std::string& layout_digest() const noexcept { return layout_digest_; }
  const Store& store() const noexcept { return store_; }
  /// The store to its owner, for training.
  Store& store() noexcept { return store_; }
  const Codec& codec() const noexcept { return codec_; }

  /// Reads and decodes rows.
  ///
  /// row_ids [T, H] int32 or int64, in [0, num_rows()); a token whose rows are all -1 has none.
  /// out     [T, H * row_width()] float, Bf16 or F16, token stride free, must not overlap the
  ///         table; zeros where a token has no rows.
  /// Status  shape_mismatch; bad_row (index: place in [T * H]); invalid_config (no share); then
  /// nothing was written. io when
  ///         the store's memory failed (a file that shrank, under a SigbusGuard): out is undefined.
  /// Cost    T * H rows read, no allocation.
  /// Threads that share the call meet before it, not behind it: device.wait() before reading what
  /// others gathered.
  template <class Row, Element Out, class Dev = CpuDevice>
  ENGRAM_ALWAYS_INLINE Status gather(View<Row, 2> row_ids, View<Out, 2> out,
                                     const Dev& device = {}) const noexcept {
    static_assert(SpaceConvertible<typename Store::space_type, typename Dev::space_type>,
                  "engram: this table is in memory that the device does not reach");
    using Id = std::remove_const_t<Row>;
    const View<const Id, 2> rows = row_ids;
    if constexpr (requires { device.valid(); })
      if (!device.valid()) return {Code::invalid_config};
    if (Status s = check_gather_shapes(rows, row_width_, out); !s.ok()) return s;
    if (Status s = check_row_ids(rows, num_rows()); !s.ok()) return s;
    using Body = GatherBody<decltype(store_.ref()), Codec, Id, Out>;
    const Body body{store_.ref(), codec_, rows, row_width_, out};
    if constexpr (requires { requires Store::may_fault; }) {
      const Status read = guarded_read([&] {
        device.for_items(Body::items(rows.extent(0)), body);
        return Status{};
      });
      return device.agree(read.ok()) || !read.ok() ? read : Status{Code::io};
    } else {
      device.for_items(Body::items(rows.extent(0)), body);
      return {};
    }
  }

 private:
  ENGRAM_ALWAYS_INLINE Table(Store store, Codec codec, Index row_width, std::string layout_digest)
      : store_(std::move(store)),
        codec_(codec),
        row_width_(row_width),
        layout_digest_(std::move(layout_digest)) {}

  Store store_;
  Codec codec_;
  Index row_width_;
  std::string layout_digest_;
};

ENGRAM_END_NAMESPACE
