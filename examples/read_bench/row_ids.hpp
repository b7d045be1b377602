// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Row ids as a benchmark should ask for them. Those of real text are Zipfian, some rows again and
// again and most of them hardly ever, and hashing has spread both over the table. Uniform ids are
// the worst case.

#include <engram/core/ids.hpp>
#include <engram/core/view.hpp>

#include <cstdint>
#include <vector>

namespace engram::read_bench {

enum class IdKind : std::int32_t { zipf = 0, uniform = 1 };

/// A sequence of pseudo-random numbers; the same seed gives the same one.
class Randomness {
 public:
  explicit Randomness(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits() noexcept;
  /// In [0, below).
  Index number(Index below) noexcept;
  /// In [0, 1).
  double share() noexcept;

 private:
  std::uint64_t state_;
};

/// Ids in [first, first + count): uniform, or of Zipf's law with exponent 1, the ranks dealt out to
/// the rows by a permutation.
class RowIds {
 public:
  RowIds(Index first, Index count, IdKind kind, std::uint64_t seed);
  RowId next() noexcept;
  std::vector<RowId> list(Index length);

  /// Of a number in [0, count) another one there; one to one.
  Index permuted(Index number) const noexcept;

 private:
  Index zipf_rank() noexcept;

  Index first_, count_;
  IdKind kind_;
  Randomness random_;
  std::uint64_t mask_ = 0;
  int shift_ = 1;
  double lowest_ = 0, highest_ = 0;  // of the integral of 1/x under which ranks are drawn
};

/// Many ids drawn beforehand, given out some at a time, from the first again after the last.
class IdPool {
 public:
  explicit IdPool(std::vector<RowId> ids) : ids_(std::move(ids)) {}
  /// The next `count`, at most as many as there are.
  View<const RowId, 1> next(Index count) noexcept;

 private:
  std::vector<RowId> ids_;
  Index at_ = 0;
};

}  // namespace engram::read_bench
