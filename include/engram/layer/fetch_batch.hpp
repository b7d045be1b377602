// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows of a chunk of tokens, of one layer or several, asked for in one batch before they are needed
// and decoded when they are: what hides a disk behind the layers in front of the memory.
//
//   batch.plan(rows, first_rows);   // [T, L, H], each row once
//   batch.submit();                 // then run the layers before the first memory
//   batch.wait();
//   batch.decode(0, out);           // [T, H E] of the first memory; later decode(1, out)
//
// Asking early for the next step is the same call on another FetchBatch. What turns out not to be
// needed is given up with discard().

#include <engram/addressing/dedupe.hpp>
#include <engram/storage/fetch_table.hpp>

ENGRAM_BEGIN_NAMESPACE

/// One batch of rows at a time, over a FetchStore. Refers to the store and to the caller's memory;
/// moves while nothing is on the way, is not copied. One thread at a time.
template <class Store, class Codec>
class FetchBatch {
  static_assert(check_fetch_store<Store>());
  static_assert(check_row_codec<Codec>());
  using Reader = decltype(std::declval<const Store&>().reader());

 public:
  /// Bytes of memory for plans of at most `ids` row ids, of all tokens, layers and heads.
  static Index memory_bytes(const Store& store, Index ids) noexcept {
    const Index each = store.row_bytes() + store.scale_bytes();
    return ids * (each + Index{2 * sizeof(std::int64_t) + sizeof(RowId) + sizeof(std::int32_t)}) +
           static_cast<Index>(dedupe_workspace_bytes(ids)) + 6 * Index{Workspace::alignment};
  }

  /// memory  at least memory_bytes(store, most_ids).
  ///
  /// Fails as Table::make, with invalid_config (most_ids below 1 or above 2^31 - 1), and with
  /// workspace_small (index: the bytes).
  ENGRAM_ALWAYS_INLINE static Result<FetchBatch> make(const Store& store, Codec codec,
                                                      Index row_width, Index most_ids,
                                                      View<std::byte, 1> memory) {
    if (const std::string fault = table_fault(store, codec, row_width); !fault.empty())
      return fail(Code::mismatch, {"batch: ", fault});
    if (most_ids < 1 || most_ids > INT32_MAX)
      return fail(Code::invalid_config,
                  {"batch: ", most_ids, " row ids, expected 1 to ", INT32_MAX});
    if (const Index least = memory_bytes(store, most_ids); memory.size() < least)
      return fail(Code::workspace_small,
                  {"batch: ", memory.size(), " bytes of memory, expected at least ", least, " for ",
                   most_ids, " row ids"},
                  least);
    return FetchBatch(store, codec, row_width, most_ids, memory);
  }

  ENGRAM_ALWAYS_INLINE FetchBatch(FetchBatch&&) = default;
  FetchBatch(const FetchBatch&) = delete;
  ENGRAM_ALWAYS_INLINE ~FetchBatch() = default;

  /// Finds the distinct rows of a chunk.
  ///
  /// rows        [T, L, H] int32 or int64, as FrontEnd gives them; -1: no row.
  /// first_rows  [L] of each layer, the store's row that is the layer's row 0: {0, rows of the
  ///             first} for a store of two layers, one behind the other.
  /// Status      shape_mismatch (not one first row a layer, one beyond the store, more ids than
  ///             most_ids; index: the number that would do), bad_row (index: place in [T * L * H]),
  ///             busy (a batch is on the way). Then nothing is planned.
  /// Cost        a sort of T * L * H ids, no allocation.
  template <class Row>
  ENGRAM_ALWAYS_INLINE Status plan(View<Row, 3> rows, View<const Index, 1> first_rows) noexcept {
    return plan_rows(View<const std::remove_const_t<Row>, 3>(rows), first_rows);
  }

  /// After plan(), for a caller that keeps rows in slots of its own memory: leaves out the rows
  /// that have one. Then unique_rows() counts the others, arrivals() are their slots, places() are
  /// slots, and decode() says busy.
  ///
  /// resident  `Index find(RowId)`: the row's slot, or -1. `Index add(RowId)`: a slot for a row
  ///           without one. All distinct rows are looked for before the first is added.
  template <class Resident>
  void relocate(Resident& resident) noexcept {
    if (is_relocated_) return;
    std::int64_t* const slots = global_;  // of the distinct rows
    for (Index i = 0; i < num_unique_; ++i) slots[i] = resident.find(ids_[i]);
    Index left = 0;
    for (Index i = 0; i < num_unique_; ++i) {
      if (slots[i] >= 0) continue;
      slots[i] = unique_[left] = resident.add(ids_[i]);
      ids_[left++] = ids_[i];
    }
    num_unique_ = left;
    for (Index i = 0; i < tokens_ * layers_ * heads_; ++i)
      if (scatter_[i] >= 0) scatter_[i] = static_cast<std::int32_t>(slots[scatter_[i]]);
    is_relocated_ = true;
  }

  /// Asks for the rows that were planned; what the store refuses is its status.
  ///
  /// flag  null, or written when the batch is done: see Ticket.
  ENGRAM_ALWAYS_INLINE Status submit(std::uint32_t* flag = nullptr) noexcept {
    if (is_open_) return {Code::busy, 0, 1};
    is_read_ = false;
    ticket_.flag = flag;
    ticket_.status = {};
    if (num_unique_ == 0) {
      finish_ticket(ticket_, {});
      is_read_ = true;
      return {};
    }
    const Index each = store_->row_bytes() + store_->scale_bytes();
    const Status status = reader_.submit(View<const RowId, 1>(ids_, num_unique_),
                                         View<std::byte, 1>(bytes_, num_unique_ * each), ticket_);
    is_open_ = status.ok();
    if (!is_open_) finish_ticket(ticket_, status);
    return status;
  }
  /// Whether wait() would return at once.
  bool poll() noexcept { return !is_open_ || reader_.poll(ticket_); }
  /// The status of the batch that was last submitted, once nothing of it is on the way.
  Status wait() noexcept {
    if (!is_open_) return ticket_.status;
    const Status status = reader_.wait(ticket_);
    is_open_ = false;
    is_read_ = status.ok();
    return status;
  }
  /// Gives up what was asked for: at once where the store's reader can, else when it has arrived.
  void discard() noexcept {
    if (is_open_) {
      if constexpr (requires { reader_.cancel(ticket_); })
        reader_.cancel(ticket_);
      else
        (void)reader_.wait(ticket_);
    }
    is_open_ = is_read_ = false;
    num_unique_ = tokens_ = 0;
  }

  /// Rows of one layer, decoded. After wait() was ok.
  ///
  /// out     [T, H * row_width] float, Bf16 or F16, token stride free; zeros where there is no row.
  /// Status  busy (not waited for), shape_mismatch (index: the extent expected, or L).
  template <Element Out>
  ENGRAM_ALWAYS_INLINE Status decode(Index layer, View<Out, 2> out) const noexcept {
    if (!is_read_ || is_relocated_) return {Code::busy, 0, 1};
    if (layer < 0 || layer >= layers_) return {Code::shape_mismatch, 0, layers_};
    if (out.extent(0) != tokens_) return {Code::shape_mismatch, 0, tokens_};
    if (out.extent(1) != heads_ * row_width_) return {Code::shape_mismatch, 0, heads_ * row_width_};
    decode_rows(layer, out);
    return {};
  }

  /// Rows asked for, each once.
  Index unique_rows() const noexcept { return num_unique_; }
  /// Where they arrive, one behind the other, codes and scales: [unique_rows() * bytes of a row],
  /// in the memory that make() was given.
  View<const std::byte, 1> row_bytes() const noexcept {
    const Index each = store_->row_bytes() + store_->scale_bytes();
    return View<const std::byte, 1>(bytes_, num_unique_ * each);
  }
  /// [unique_rows()] after relocate(): the slots that they are for.
  View<const std::int64_t, 1> arrivals() const noexcept {
    return View<const std::int64_t, 1>(unique_, num_unique_);
  }
  /// [T * L * H] for each id which of the unique_rows() it is, after relocate() its slot; -1: no
  /// row.
  View<const std::int32_t, 1> places() const noexcept {
    return View<const std::int32_t, 1>(scatter_, tokens_ * layers_ * heads_);
  }
  /// The reader, for its counters.
  const Reader& reader() const noexcept { return reader_; }

 private:
  ENGRAM_ALWAYS_INLINE FetchBatch(const Store& store, Codec codec, Index row_width, Index most_ids,
                                  View<std::byte, 1> memory)
      : store_(&store),
        reader_(store.reader()),
        codec_(codec),
        row_width_(row_width),
        most_ids_(most_ids) {
    Workspace parts(memory);
    global_ = parts.take<std::int64_t>(most_ids);
    unique_ = parts.take<std::int64_t>(most_ids);
    ids_ = parts.take<RowId>(most_ids);
    scatter_ = parts.take<std::int32_t>(most_ids);
    sort_bytes_ = static_cast<Index>(dedupe_workspace_bytes(most_ids));
    sort_ = parts.take<std::byte>(sort_bytes_);
    bytes_ = parts.take<std::byte>(most_ids * (store.row_bytes() + store.scale_bytes()));
  }

  template <class Row>
  ENGRAM_ALWAYS_INLINE Status plan_rows(View<const Row, 3> rows,
                                        View<const Index, 1> first_rows) noexcept {
    if (is_open_) return {Code::busy, 0, 1};
    is_read_ = is_relocated_ = false;
    num_unique_ = tokens_ = 0;
    const Index layers = rows.extent(1);
    const Index heads = rows.extent(2);
    if (first_rows.size() != layers) return {Code::shape_mismatch, 0, layers};
    if (rows.size() > most_ids_) return {Code::shape_mismatch, 0, most_ids_};
    for (Index l = 0; l < layers; ++l)
      if (first_rows(l) < 0 || first_rows(l) > store_->num_rows())
        return {Code::shape_mismatch, 0, store_->num_rows()};
    Index at = 0;
    for (Index t = 0; t < rows.extent(0); ++t)
      for (Index l = 0; l < layers; ++l)
        for (Index h = 0; h < heads; ++h, ++at) {
          const Index row = rows(t, l, h);
          if (row < -1 || row >= store_->num_rows() - first_rows(l)) return {Code::bad_row, 0, at};
          global_[at] = row < 0 ? -1 : row + first_rows(l);
        }
    Index found = 0;
    if (Status s = plan_dedupe<std::int64_t>(
            View<const std::int64_t, 2>(global_, at, 1), store_->num_rows(),
            View<std::int64_t, 1>(unique_, most_ids_), View<std::int32_t, 1>(scatter_, at), found,
            View<std::byte, 1>(sort_, sort_bytes_));
        !s.ok())
      return s;
    for (Index i = 0; i < found; ++i) ids_[i] = RowId{unique_[i]};
    num_unique_ = found;
    tokens_ = rows.extent(0);
    layers_ = layers;
    heads_ = heads;
    return {};
  }

  template <Element Out>
  ENGRAM_ALWAYS_INLINE void decode_rows(Index layer, View<Out, 2> out) const noexcept {
    const RowShape shape{store_->num_rows(), store_->row_bytes(), store_->scale_bytes()};
    const Index each = shape.row_bytes + shape.scale_bytes;
    for (Index t = 0; t < tokens_; ++t)
      for (Index h = 0; h < heads_; ++h) {
        const std::int32_t place = scatter_[(t * layers_ + layer) * heads_ + h];
        decode_fetched(codec_, place < 0 ? nullptr : bytes_ + place * each, shape, row_width_,
                       out.data() + t * out.stride(0) + h * row_width_);
      }
  }

  const Store* store_;
  Ticket ticket_;  // before the reader, which may write to it until it ends
  Reader reader_;
  Codec codec_;
  Index row_width_;
  Index most_ids_;
  Index tokens_ = 0, layers_ = 0, heads_ = 0, num_unique_ = 0;
  bool is_open_ = false;  // a batch was submitted and not waited for
  bool is_read_ = false;  // its rows may be decoded
  bool is_relocated_ = false;
  std::int64_t* global_ = nullptr;
  std::int64_t* unique_ = nullptr;
  RowId* ids_ = nullptr;
  std::int32_t* scatter_ = nullptr;
  std::byte* sort_ = nullptr;
  Index sort_bytes_ = 0;
  std::byte* bytes_ = nullptr;
};

ENGRAM_END_NAMESPACE
