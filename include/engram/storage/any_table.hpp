// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A table of whatever store and codec, decided at run time: a command-line flag that picks the
// tier, a model file that picks the format. One virtual call a batch.

#include <engram/storage/table.hpp>

ENGRAM_BEGIN_NAMESPACE

/// A table that gathers every type of row ids to every type of elements, as those of the library
/// do.
template <class T>
concept FullRowTable = RowTable<T> &&
    requires(T& table, View<const std::int32_t, 2> rows32, View<const std::int64_t, 2> rows64,
             View<float, 2> floats, View<Bf16, 2> bf16s, View<F16, 2> f16s) {
  { table.gather(rows32, bf16s, CpuDevice()) } -> std::same_as<Status>;
  { table.gather(rows32, f16s, CpuDevice()) } -> std::same_as<Status>;
  { table.gather(rows64, floats, CpuDevice()) } -> std::same_as<Status>;
  { table.gather(rows64, bf16s, CpuDevice()) } -> std::same_as<Status>;
  { table.gather(rows64, f16s, CpuDevice()) } -> std::same_as<Status>;
};

/// What AnyTable asks of the table it holds.
struct AnyTableInterface {
  using Rows32 = View<const std::int32_t, 2>;
  using Rows64 = View<const std::int64_t, 2>;
  virtual ~AnyTableInterface() = default;
  virtual Index num_rows() const noexcept = 0;
  virtual Index row_width() const noexcept = 0;
  virtual Status gather(Rows32, View<float, 2>, const CpuDevice&) noexcept = 0;
  virtual Status gather(Rows32, View<Bf16, 2>, const CpuDevice&) noexcept = 0;
  virtual Status gather(Rows32, View<F16, 2>, const CpuDevice&) noexcept = 0;
  virtual Status gather(Rows64, View<float, 2>, const CpuDevice&) noexcept = 0;
  virtual Status gather(Rows64, View<Bf16, 2>, const CpuDevice&) noexcept = 0;
  virtual Status gather(Rows64, View<F16, 2>, const CpuDevice&) noexcept = 0;
};

ENGRAM_BEGIN_LOOPS

/// A held table; one for each instruction set, as its code is.
template <class TableType>
struct AnyTableHolder final : AnyTableInterface {
  explicit AnyTableHolder(TableType t) : table(std::move(t)) {}
  Index num_rows() const noexcept override { return table.num_rows(); }
  Index row_width() const noexcept override { return table.row_width(); }
  Status gather(Rows32 r, View<float, 2> o, const CpuDevice& d) noexcept override {
    return table.gather(r, o, d);
  }
  Status gather(Rows32 r, View<Bf16, 2> o, const CpuDevice& d) noexcept override {
    return table.gather(r, o, d);
  }
  Status gather(Rows32 r, View<F16, 2> o, const CpuDevice& d) noexcept override {
    return table.gather(r, o, d);
  }
  Status gather(Rows64 r, View<float, 2> o, const CpuDevice& d) noexcept override {
    return table.gather(r, o, d);
  }
  Status gather(Rows64 r, View<Bf16, 2> o, const CpuDevice& d) noexcept override {
    return table.gather(r, o, d);
  }
  Status gather(Rows64 r, View<F16, 2> o, const CpuDevice& d) noexcept override {
    return table.gather(r, o, d);
  }
  TableType table;
};

ENGRAM_END_LOOPS

/// Owns any table. Moves, is not copied; const calls may run concurrently when the table's may.
class AnyTable {
 public:
  template <class TableType>
    requires(!std::is_same_v<TableType, AnyTable>)
  ENGRAM_ALWAYS_INLINE explicit AnyTable(TableType table)
      : table_(new AnyTableHolder<TableType>(std::move(table))) {
    static_assert(
        FullRowTable<TableType>,
        "engram: AnyTable holds a type with num_rows(), row_width() and gather() of int32 "
        "and int64 rows to float, Bf16 and F16");
  }
  AnyTable(AnyTable&& other) noexcept : table_(other.table_) { other.table_ = nullptr; }
  AnyTable& operator=(AnyTable&& other) noexcept {
    std::swap(table_, other.table_);
    return *this;
  }
  ~AnyTable() { delete table_; }

  Index num_rows() const noexcept { return table_->num_rows(); }
  Index row_width() const noexcept { return table_->row_width(); }

  /// As Table::gather.
  template <class Row, Element Out>
  ENGRAM_ALWAYS_INLINE Status gather(View<Row, 2> rows, View<Out, 2> out,
                                     const CpuDevice& device = {}) const noexcept {
    return table_->gather(View<const std::remove_const_t<Row>, 2>(rows), out, device);
  }

 private:
  AnyTableInterface* table_;
};

ENGRAM_END_NAMESPACE
