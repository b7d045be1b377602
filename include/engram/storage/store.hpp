// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The policy family that holds the rows of a table. A store moves bytes and does not know what they
// mean. There are two ways to read: in place through a pointer (memory, mapped files), or by asking
// for a batch and waiting for it (disks, caches, other machines).

#include <engram/codec/row_bytes.hpp>
#include <engram/core/space.hpp>
#include <engram/core/status.hpp>
#include <engram/core/view.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What every store says of its rows: how many, and the bytes of one (its codes; its scales, 0 when
/// the rows have none).
template <class S>
concept RowStore = requires(const S s) {
  { s.num_rows() } -> std::same_as<Index>;
  { s.row_bytes() } -> std::same_as<Index>;
  { s.scale_bytes() } -> std::same_as<Index>;
};

/// A store whose rows have addresses.
///
/// Semantics (docs/concepts.md): `ref()` is a small value, row id -> pointers, valid as long as the
/// store; ref()(row) is defined for 0 <= row < num_rows(), pure, and may run on any thread and, by
/// its space, on a GPU. A store whose memory can fail when touched says `static constexpr bool
/// may_fault = true`.
template <class S>
concept AddressableStore = RowStore<S> && MemorySpace<typename S::space_type> &&
    requires(const S s, Index row) {
  requires std::is_trivially_copyable_v<decltype(s.ref())>;
  { s.ref()(row) } -> std::same_as<RowBytes>;
};

/// A store that also lets its owner write rows: what training uses.
///
/// Semantics: mutable_ref() needs a store that is not const; rows of different ids may be written
/// by different threads.
template <class S>
concept MutableStore = AddressableStore<S> && requires(S s, Index row) {
  requires std::is_trivially_copyable_v<decltype(s.mutable_ref())>;
  { s.mutable_ref()(row) } -> std::same_as<MutableRowBytes>;
};

/// One batch on its way; the reader that was given it fills it in. Not moved while in flight.
struct Ticket {
  Index id = -1;  ///< the reader's own number for the batch; -1: nothing in flight
  Status status;  ///< of the batch, once it is done
  /// Null, or the caller's: written once the batch is done, 1 for ok and 2 for anything else, after
  /// its bytes (release). By the thread that drives the reader.
  std::uint32_t* flag = nullptr;
};

ENGRAM_BEGIN_LOOPS

/// Writes a ticket's end, flag included. For readers.
inline void finish_ticket(Ticket& ticket, Status status) noexcept {
  ticket.id = -1;
  ticket.status = status;
  if (ticket.flag != nullptr)
    __atomic_store_n(ticket.flag, status.ok() ? 1U : 2U, __ATOMIC_RELEASE);
}

/// ok, or bad_row at the first row (index: its place) that a table of num_rows has not. For
/// readers.
inline Status check_batch_rows(View<const RowId, 1> rows, Index num_rows) noexcept {
  const auto limit = static_cast<std::uint64_t>(num_rows);
  for (Index i = 0; i < rows.size(); ++i)
    if (static_cast<std::uint64_t>(to_integer(rows(i))) >= limit) return {Code::bad_row, 0, i};
  return {};
}

ENGRAM_END_LOOPS

inline constinit std::uint64_t last_generation = 0;

/// A number that no store of this process had before: what stores that can be opened again give as
/// `generation()`, so that whoever keeps rows of one sees that it is another now.
ENGRAM_ALWAYS_INLINE std::uint64_t next_generation() noexcept {
  return __atomic_add_fetch(&last_generation, 1, __ATOMIC_RELAXED);
}

/// A store that can be opened again, and says so by another number then.
template <class S>
concept HasGeneration = requires(const S s) {
  { s.generation() } -> std::same_as<std::uint64_t>;
};

/// Reads batches of one store; one for each thread, it holds everything that changes.
///
/// Semantics: submit(rows, bytes, ticket) asks for rows (each in [0, num_rows())), which arrive
/// one behind the other in `bytes`, codes then scales, row_bytes() + scale_bytes() each. poll() is
/// true once the batch is done, wait() returns its status; a batch that failed leaves its bytes
/// undefined, and nothing writes them any more once wait() has returned. A submit() that is refused
/// starts nothing, and a ticket whose batch is on the way (busy) stays as it was.
template <class R>
concept StoreReader = requires(R r, View<const RowId, 1> rows, View<std::byte, 1> bytes,
                               Ticket& ticket) {
  { r.submit(rows, bytes, ticket) } -> std::same_as<Status>;
  { r.poll(ticket) } -> std::same_as<bool>;
  { r.wait(ticket) } -> std::same_as<Status>;
};

/// A store that is asked for batches: `reader()` makes one reader for a thread.
template <class S>
concept FetchStore = RowStore<S> && requires(const S s) {
  { s.reader() } -> StoreReader;
};

template <class S>
constexpr bool check_row_store() {
  static_assert(
      requires(const S s) {
        { s.num_rows() } -> std::same_as<Index>;
      },
      "engram: a store needs 'Index num_rows() const'");
  static_assert(
      requires(const S s) {
        { s.row_bytes() } -> std::same_as<Index>;
      },
      "engram: a store needs 'Index row_bytes() const'");
  static_assert(
      requires(const S s) {
        { s.scale_bytes() } -> std::same_as<Index>;
      },
      "engram: a store needs 'Index scale_bytes() const'");
  return RowStore<S>;
}

/// One sentence for each operation that S lacks; true when S models AddressableStore.
template <class S>
constexpr bool check_addressable_store() {
  check_row_store<S>();
  static_assert(
      requires { requires MemorySpace<typename S::space_type>; },
      "engram: an AddressableStore needs 'using space_type = ...', the memory its rows are in");
  static_assert(
      requires(const S s, Index row) {
        { s.ref()(row) } -> std::same_as<RowBytes>;
      },
      "engram: an AddressableStore needs 'ref() const', a functor 'RowBytes operator()(Index row) "
      "const'");
  static_assert(
      requires(const S s) { requires std::is_trivially_copyable_v<decltype(s.ref())>; },
      "engram: the ref() of an AddressableStore must be trivially copyable");
  return AddressableStore<S>;
}

/// One sentence for each operation that S lacks; true when S models MutableStore.
template <class S>
constexpr bool check_mutable_store() {
  check_addressable_store<S>();
  static_assert(
      requires(S s, Index row) {
        { s.mutable_ref()(row) } -> std::same_as<MutableRowBytes>;
      },
      "engram: a MutableStore needs 'mutable_ref()', a functor 'MutableRowBytes operator()(Index "
      "row) const'");
  return MutableStore<S>;
}

/// One sentence for each operation that S lacks; true when S models FetchStore.
template <class S>
constexpr bool check_fetch_store() {
  check_row_store<S>();
  static_assert(
      requires(const S s) { s.reader(); },
      "engram: a FetchStore needs 'reader() const', one reader for a thread");
  using Reader = decltype(std::declval<const S&>().reader());
  static_assert(
      requires(Reader r, View<const RowId, 1> rows, View<std::byte, 1> bytes, Ticket & t) {
        { r.submit(rows, bytes, t) } -> std::same_as<Status>;
      },
      "engram: a FetchStore's reader needs 'Status submit(View<const RowId, 1> rows, "
      "View<std::byte, 1> bytes, Ticket&)'");
  static_assert(
      requires(Reader r, Ticket & t) {
        { r.poll(t) } -> std::same_as<bool>;
      },
      "engram: a FetchStore's reader needs 'bool poll(Ticket&)'");
  static_assert(
      requires(Reader r, Ticket & t) {
        { r.wait(t) } -> std::same_as<Status>;
      },
      "engram: a FetchStore's reader needs 'Status wait(Ticket&)'");
  return FetchStore<S>;
}

ENGRAM_END_NAMESPACE
