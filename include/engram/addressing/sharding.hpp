// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Which rank holds which rows when a table is split, and under which local number. Three splits are
// in use: by row range, by contiguous heads, and by strided heads. The last keeps the ranks evenly
// loaded on real text, where short n-grams repeat and long ones do not.

#include <engram/addressing/layout.hpp>
#include <engram/core/view.hpp>

#include <concepts>

ENGRAM_BEGIN_NAMESPACE

/// A split of one layer's table over `num_ranks()` ranks: every row has one owner and one local id.
template <class S>
concept Sharding = requires(const S s, int rank, RowId row, LocalRowId local) {
  { s.num_ranks() } -> std::same_as<int>;
  { s.owner(row) } -> std::same_as<int>;
  { s.to_local(row) } -> std::same_as<LocalRowId>;
  { s.to_global(rank, local) } -> std::same_as<RowId>;
  { s.local_rows(rank) } -> std::same_as<Index>;
};

/// One sentence for each operation that S lacks; true when S models Sharding.
template <class S>
constexpr bool check_sharding() {
  static_assert(
      requires(const S s) {
        { s.num_ranks() } -> std::same_as<int>;
      },
      "engram: a Sharding needs 'int num_ranks() const'");
  static_assert(
      requires(const S s, RowId r) {
        { s.owner(r) } -> std::same_as<int>;
      },
      "engram: a Sharding needs 'int owner(RowId) const'");
  static_assert(
      requires(const S s, RowId r) {
        { s.to_local(r) } -> std::same_as<LocalRowId>;
      },
      "engram: a Sharding needs 'LocalRowId to_local(RowId) const'");
  static_assert(
      requires(const S s, LocalRowId l) {
        { s.to_global(0, l) } -> std::same_as<RowId>;
      },
      "engram: a Sharding needs 'RowId to_global(int rank, LocalRowId) const'");
  static_assert(
      requires(const S s) {
        { s.local_rows(0) } -> std::same_as<Index>;
      },
      "engram: a Sharding needs 'Index local_rows(int rank) const'");
  return Sharding<S>;
}

/// Rank r holds rows [r * ceil(rows / ranks), ...), as DeepSeek's own tensor-parallel code splits.
class RowRangeSharding {
 public:
  /// Precondition: rows >= 1, ranks >= 1.
  constexpr RowRangeSharding(Index rows, int ranks) noexcept
      : rows_(rows), ranks_(ranks), per_rank_((rows + ranks - 1) / ranks) {}

  constexpr int num_ranks() const noexcept { return ranks_; }
  /// Precondition for the three: 0 <= row < rows.
  constexpr int owner(RowId row) const noexcept {
    return static_cast<int>(to_integer(row) / per_rank_);
  }
  constexpr LocalRowId to_local(RowId row) const noexcept {
    return LocalRowId{to_integer(row) % per_rank_};
  }
  constexpr RowId to_global(int rank, LocalRowId local) const noexcept {
    return RowId{rank * per_rank_ + to_integer(local)};
  }
  /// Rows the rank really holds; the last ranks may hold fewer than the others, or none.
  constexpr Index local_rows(int rank) const noexcept {
    const Index left = rows_ - rank * per_rank_;
    return left < 0 ? 0 : left < per_rank_ ? left : per_rank_;
  }

 private:
  Index rows_;
  int ranks_;
  Index per_rank_;
};

/// Whole heads to ranks. On a rank its heads follow each other in ascending order. With more ranks
/// than heads the last ranks hold nothing. Precondition of both: ranks >= 1.
class HeadSharding {
 public:
  /// Contiguous: rank r holds the heads [r * ceil(H / ranks), ...).
  ENGRAM_ALWAYS_INLINE static HeadSharding contiguous(const LayerLayout& layer, int ranks) {
    const int columns = static_cast<int>(layer.moduli.size());
    return HeadSharding(layer, ranks, (columns + ranks - 1) / ranks);
  }
  /// Strided: rank r holds the heads r, r + ranks, r + 2 * ranks, ...: some of every order.
  ENGRAM_ALWAYS_INLINE static HeadSharding strided(const LayerLayout& layer, int ranks) {
    return HeadSharding(layer, ranks, 0);
  }

  int num_ranks() const noexcept { return static_cast<int>(local_rows_.size()); }
  /// The rank that holds a head.
  int owner(HeadId head) const noexcept { return rank_of(to_integer(head)); }
  /// Precondition for these: 0 <= row < rows.
  ENGRAM_ALWAYS_INLINE int owner(RowId row) const noexcept {
    return rank_of(static_cast<int>(find(row)));
  }
  ENGRAM_ALWAYS_INLINE LocalRowId to_local(RowId row) const noexcept {
    const std::size_t column = find(row);
    return LocalRowId{to_integer(row) - first_[column] + local_first_[column]};
  }
  ENGRAM_ALWAYS_INLINE RowId to_global(int rank, LocalRowId local) const noexcept {
    RowId row = no_row;
    for (std::size_t c = 0; c < first_.size(); ++c)
      if (rank_of(static_cast<int>(c)) == rank && local_first_[c] <= to_integer(local))
        row = RowId{to_integer(local) - local_first_[c] + first_[c]};
    return row;
  }
  Index local_rows(int rank) const noexcept { return local_rows_[static_cast<std::size_t>(rank)]; }

 private:
  /// heads_a_rank: how many contiguous heads, or 0 for strided ones.
  ENGRAM_ALWAYS_INLINE HeadSharding(const LayerLayout& layer, int ranks, int heads_a_rank)
      : heads_a_rank_(heads_a_rank),
        first_(layer.offsets),
        local_rows_(static_cast<std::size_t>(ranks), 0),
        local_first_(layer.moduli.size()) {
    for (std::size_t c = 0; c < layer.moduli.size(); ++c) {
      Index& used = local_rows_[static_cast<std::size_t>(rank_of(static_cast<int>(c)))];
      local_first_[c] = used;
      used += static_cast<Index>(layer.moduli[c]);
    }
  }

  int rank_of(int column) const noexcept {
    return heads_a_rank_ == 0 ? column % num_ranks() : column / heads_a_rank_;
  }
  ENGRAM_ALWAYS_INLINE std::size_t find(RowId row) const noexcept {
    std::size_t low = 0;
    for (std::size_t size = first_.size(); size > 1;) {
      const std::size_t half = size / 2;
      if (first_[low + half] <= to_integer(row)) low += half;
      size -= half;
    }
    return low;
  }

  int heads_a_rank_;
  std::vector<Index> first_;        // [H] global id of each head's first row
  std::vector<Index> local_rows_;   // [ranks]
  std::vector<Index> local_first_;  // [H] local id of each head's first row
};

static_assert(check_sharding<RowRangeSharding>());
static_assert(check_sharding<HeadSharding>());

ENGRAM_BEGIN_LOOPS

/// How unevenly a batch loads the ranks: the busiest rank's reads over the mean. 1 is even.
///
/// rows  [n] rows to be read, usually the unique ones of a batch (dedupe.hpp): a View, vector or
///       span; -1 is not counted, the others must be rows of the sharded table.
/// Returns 1 when nothing is read.
template <Sharding S, class Rows>
double rank_imbalance(const S& sharding, const Rows& read) {
  const View rows(read);
  std::vector<Index> reads(static_cast<std::size_t>(sharding.num_ranks()), 0);
  Index total = 0;
  for (Index i = 0; i < rows.extent(0); ++i) {
    const RowId row{rows(i)};
    if (row == no_row) continue;
    ++reads[static_cast<std::size_t>(sharding.owner(row))];
    ++total;
  }
  Index most = 0;
  for (const Index n : reads) most = n > most ? n : most;
  return total == 0 ? 1.0
                    : static_cast<double>(most) * static_cast<double>(reads.size()) /
                          static_cast<double>(total);
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
