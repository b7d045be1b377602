// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How a cache divides its budget: all it will ever use lies in one piece of memory, made at the
// start, so the budget is what the process pays at most.

#include <engram/core/status.hpp>
#include <engram/storage/cache_insert.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/storage/page_bytes.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Sizes that decide the plan.
struct CacheNeeds {
  Index num_rows = 0;
  Index row_bytes = 0;  ///< codes and scales
  Index readers = 0;
  Index miss_rows = 0;     ///< most rows of a batch to the base store
  Index head_bytes = 0;    ///< of the cache itself
  Index reader_bytes = 0;  ///< of one reader, without its misses
};

/// Where everything begins, in bytes from the start; each at a multiple of 64.
struct CachePlan {
  Index sets = 0;
  bool wide = false;
  int table_bits = 0;
  Index readers = 0;  ///< the readers, one behind the other
  Index lines = 0;    ///< their epoch lines
  Index misses = 0;   ///< the arrays of their misses
  Index misses_each = 0;
  Index tags = 0;
  Index records = 0;
  Index payload = 0;
  Index stride = 0;
  Index bytes = 0;  ///< all of it, in whole pages; 2^63 - 1: no memory is that large
};

ENGRAM_BEGIN_LOOPS

/// The end of `count` things of `each` bytes that begin at `at`, at a multiple of 64; INT64_MAX
/// when that is too much, or `at` was.
constexpr Index end_of_array(Index at, Index count, Index each) noexcept {
  constexpr Index room = INT64_MAX - 64;
  if (at > room || (each > 0 && count > (room - at) / each)) return INT64_MAX;
  return (at + count * each + 63) / 64 * 64;
}

/// The plan for that many sets.
inline CachePlan plan_cache(const CacheNeeds& needs, Index sets, bool wide) noexcept {
  CachePlan plan;
  plan.sets = sets;
  plan.wide = wide;
  plan.table_bits = 1;
  while ((Index{1} << plan.table_bits) < 2 * needs.miss_rows) ++plan.table_bits;
  Index each = end_of_array(0, needs.miss_rows, sizeof(RowId));
  each = end_of_array(each, needs.miss_rows, sizeof(MissPlace));
  each = end_of_array(each, Index{1} << plan.table_bits, sizeof(std::uint32_t));
  each = end_of_array(each, needs.miss_rows, sizeof(std::int8_t));
  plan.misses_each = end_of_array(each, needs.miss_rows, needs.row_bytes);

  plan.readers = end_of_array(0, 1, needs.head_bytes);
  plan.lines = end_of_array(plan.readers, needs.readers, needs.reader_bytes);
  plan.misses = end_of_array(plan.lines, needs.readers, sizeof(EpochLine));
  plan.tags = end_of_array(plan.misses, needs.readers, plan.misses_each);
  plan.records = end_of_array(plan.tags, sets, wide ? 64 : 32);
  plan.payload = end_of_array(plan.records, sets, sizeof(CacheSetRecord));
  plan.stride = needs.row_bytes > INT64_MAX / 64 ? INT64_MAX : default_stride(needs.row_bytes);
  plan.bytes = end_of_array(plan.payload, sets * cache_ways, plan.stride);
  const Index page = system_page_bytes();
  plan.bytes = plan.bytes > INT64_MAX - page ? INT64_MAX : (plan.bytes + page - 1) / page * page;
  return plan;
}

/// The largest plan within `budget` bytes: as many sets as fit, but no more than let every row of
/// the table stay. One that is larger than the budget is the least there is.
inline CachePlan fit_cache(const CacheNeeds& needs, Index budget) noexcept {
  // Four rows a set on average: hardly a set of a table is asked to hold more than 16 then.
  constexpr Index limit = Index{1} << 31;
  const Index quarter = (needs.num_rows - 1) / 4 + 1;
  const Index most = quarter < limit ? quarter : limit;
  const auto fits_tags = [&](Index sets, bool wide) {
    return cache_places(needs.num_rows, sets).rows_of_a_set() <=
           (wide ? tag_values<std::uint32_t> : tag_values<std::uint16_t>);
  };
  const auto largest = [&](Index least, bool wide) {
    Index low = least;  // fits, or is the least
    for (Index high = most; low < high;) {
      const Index middle = high - (high - low) / 2;
      if (plan_cache(needs, middle, wide).bytes <= budget)
        low = middle;
      else
        high = middle - 1;
    }
    return plan_cache(needs, low, wide);
  };
  const auto least = [&](bool wide) {
    Index low = 1;
    for (Index high = most; low < high;) {
      const Index middle = low + (high - low) / 2;
      if (fits_tags(middle, wide))
        high = middle;
      else
        low = middle + 1;
    }
    return low;
  };
  const CachePlan wide = largest(least(true), true);
  const Index least_narrow = least(false);
  if (!fits_tags(least_narrow, false)) return wide;
  const CachePlan narrow = largest(least_narrow, false);
  return narrow.bytes <= budget || narrow.bytes <= wide.bytes ? narrow : wide;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
