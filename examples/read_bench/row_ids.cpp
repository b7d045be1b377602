// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "row_ids.hpp"

#include <algorithm>
#include <cmath>

namespace engram::read_bench {

std::uint64_t Randomness::bits() noexcept {  // SplitMix64
  std::uint64_t z = state_ += 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

Index Randomness::number(Index below) noexcept {
  return static_cast<Index>(bits() % static_cast<std::uint64_t>(below));
}

double Randomness::share() noexcept { return static_cast<double>(bits() >> 11) * 0x1p-53; }

RowIds::RowIds(Index first, Index count, IdKind kind, std::uint64_t seed)
    : first_(first), count_(count), kind_(kind), random_(seed) {
  int bits = 1;
  while (bits < 62 && (Index{1} << bits) < count) ++bits;
  mask_ = (std::uint64_t{1} << bits) - 1;
  shift_ = std::max(1, bits / 2);
  lowest_ = std::log(1.5) - 1;
  highest_ = std::log(static_cast<double>(count) + 0.5);
}

Index RowIds::permuted(Index number) const noexcept {
  // Each step maps the numbers of so many bits one to one; those beyond the table go on.
  auto x = static_cast<std::uint64_t>(number);
  do {
    x = (x * 0x9E3779B97F4A7C15U + 0x7F4A7C15U) & mask_;
    x ^= x >> shift_;
    x = (x * 0xBF58476D1CE4E5B9U) & mask_;
    x ^= x >> shift_;
  } while (x >= static_cast<std::uint64_t>(count_));
  return static_cast<Index>(x);
}

/// Rejection-inversion: W. Hörmann and G. Derflinger, ACM TOMACS 6(3), 1996, for exponent 1.
Index RowIds::zipf_rank() noexcept {
  static const double near = 2 - std::exp(std::log(2.5) - 0.5);
  for (;;) {
    const double u = highest_ + random_.share() * (lowest_ - highest_);
    const double x = std::exp(u);
    const double k = std::clamp(std::floor(x + 0.5), 1.0, static_cast<double>(count_));
    if (k - x <= near || u >= std::log(k + 0.5) - 1 / k) return static_cast<Index>(k) - 1;
  }
}

RowId RowIds::next() noexcept {
  if (kind_ == IdKind::uniform) return RowId{first_ + random_.number(count_)};
  return RowId{first_ + permuted(zipf_rank())};
}

std::vector<RowId> RowIds::list(Index length) {
  std::vector<RowId> ids;
  ids.reserve(static_cast<std::size_t>(length));
  for (Index i = 0; i < length; ++i) ids.push_back(next());
  return ids;
}

View<const RowId, 1> IdPool::next(Index count) noexcept {
  if (at_ + count > static_cast<Index>(ids_.size())) at_ = 0;
  const View<const RowId, 1> part(ids_.data() + at_, count);
  at_ += count;
  return part;
}

}  // namespace engram::read_bench
