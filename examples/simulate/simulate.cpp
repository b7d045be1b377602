// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "simulate.hpp"

#include "caches.hpp"

#include <algorithm>
#include <numeric>

namespace engram::simulate {

namespace {

constexpr std::pair<const char*, Policy> policies[] = {
    {"lru", Policy::lru},     {"clock", Policy::clock},   {"fifo", Policy::fifo},
    {"set16", Policy::set16}, {"static", Policy::pinned}, {"min", Policy::min}};

bool enters(Orders orders, int order) { return (orders >> order & 1) != 0; }

/// Read number of the first read of the second half.
std::size_t middle(const Reads& reads) {
  const auto half = reads.reads_of.begin() + static_cast<std::ptrdiff_t>(reads.tokens / 2);
  return std::accumulate(reads.reads_of.begin(), half, std::size_t{0});
}

/// Asks `is_hit(read number, row)` about every read of an order that may enter.
template <class IsHit>
Hits count_hits(const Reads& reads, Orders orders, const IsHit& is_hit) {
  Hits hits;
  const std::size_t half = middle(reads);
  for (std::size_t i = 0; i < reads.rows.size(); ++i) {
    const std::uint32_t row = reads.rows[i];
    const std::size_t order = reads.order_of[row];
    const bool hit = enters(orders, static_cast<int>(order)) && is_hit(i, row);
    ++hits.reads[order];
    hits.hits[order] += hit;
    hits.late_reads[order] += i >= half;
    hits.late_hits[order] += i >= half && hit;
  }
  return hits;
}

template <class Cache>
Hits replay_cache(const Reads& reads, std::size_t rows, Orders orders) {
  Cache cache(rows, reads.row_of.size());
  return count_hits(reads, orders, [&](std::size_t, std::uint32_t row) { return cache.read(row); });
}

/// Row numbers by how often they stand among the reads [0, end), those that never do left out.
std::vector<std::uint32_t> by_frequency(const Reads& reads, std::size_t end, std::size_t most,
                                        Orders orders) {
  std::vector<std::uint32_t> counts(reads.row_of.size());
  for (std::size_t i = 0; i < end; ++i) ++counts[reads.rows[i]];
  std::vector<std::uint32_t> numbers;
  for (std::uint32_t n = 0; n < counts.size(); ++n)
    if (counts[n] > 0 && enters(orders, reads.order_of[n])) numbers.push_back(n);
  const auto last = numbers.begin() + static_cast<std::ptrdiff_t>(std::min(most, numbers.size()));
  const auto before = [&](std::uint32_t a, std::uint32_t b) {
    return counts[a] != counts[b] ? counts[a] > counts[b] : a < b;
  };
  if (last != numbers.end()) std::nth_element(numbers.begin(), last, numbers.end(), before);
  std::sort(numbers.begin(), last, before);
  numbers.erase(last, numbers.end());
  return numbers;
}

Hits replay_pinned(const Reads& reads, std::size_t rows, Orders orders) {
  const std::size_t half = middle(reads);
  std::vector<std::uint8_t> held(reads.row_of.size());
  for (const std::uint32_t row : by_frequency(reads, half, rows, orders)) held[row] = 1;
  return count_hits(reads, orders,
                    [&](std::size_t i, std::uint32_t row) { return i >= half && held[row] != 0; });
}

Hits replay_min(const Reads& reads, std::size_t rows, Orders orders) {
  // When each read's row is read next.
  std::vector<std::uint32_t> next(reads.rows.size(), none), later(reads.row_of.size(), none);
  for (std::size_t i = reads.rows.size(); i-- > 0;) {
    next[i] = later[reads.rows[i]];
    later[reads.rows[i]] = static_cast<std::uint32_t>(i);
  }
  std::vector<std::uint8_t> held(reads.row_of.size());
  std::size_t count = 0;
  // When the rows that are held are read next, the latest on top. Entries of the past are stale and
  // lie below all others.
  std::vector<std::uint32_t> heap;
  return count_hits(reads, orders, [&](std::size_t i, std::uint32_t row) {
    const bool hit = held[row] != 0;
    if (next[i] == none) {
      count -= held[row];
      held[row] = 0;
      return hit;
    }
    count += !hit;
    held[row] = 1;
    heap.push_back(next[i]);
    std::push_heap(heap.begin(), heap.end());
    if (count > rows) {
      std::pop_heap(heap.begin(), heap.end());
      held[reads.rows[heap.back()]] = 0;
      heap.pop_back();
      --count;
    }
    if (heap.size() > 4 * rows + 1024) {
      heap.erase(
          std::remove_if(heap.begin(), heap.end(), [&](std::uint32_t at) { return at <= i; }),
          heap.end());
      std::make_heap(heap.begin(), heap.end());
    }
    return hit;
  });
}

}  // namespace

const char* to_string(Policy policy) {
  for (const auto& [name, value] : policies)
    if (value == policy) return name;
  return "unknown";
}

std::optional<Policy> find_policy(std::string_view name) {
  for (const auto& [known, value] : policies)
    if (known == name) return value;
  return std::nullopt;
}

Hits replay(const Reads& reads, Policy policy, std::size_t rows, Orders orders) {
  switch (policy) {
    case Policy::lru:
      return replay_cache<Lru>(reads, rows, orders);
    case Policy::clock:
      return replay_cache<Clock>(reads, rows, orders);
    case Policy::fifo:
      return replay_cache<Fifo>(reads, rows, orders);
    case Policy::set16:
      return replay_cache<Sets>(reads, rows, orders);
    case Policy::pinned:
      return replay_pinned(reads, rows, orders);
    case Policy::min:
      return replay_min(reads, rows, orders);
  }
  return {};
}

std::vector<ChunkUse> chunk_use(const Reads& reads, const std::vector<Index>& lengths) {
  std::vector<ChunkUse> uses;
  for (const Index length : lengths) uses.push_back({length, reads.tokens / length, {}, {}, {}});
  std::vector<Index> last(reads.row_of.size(), -1);  // token that read the row
  const std::uint32_t* row = reads.rows.data();
  for (Index t = 0; t < reads.tokens; ++t)
    for (std::uint32_t left = reads.reads_of[static_cast<std::size_t>(t)]; left > 0; --left) {
      const std::size_t order = reads.order_of[*row];
      const Index before = last[*row];
      last[*row++] = t;
      for (ChunkUse& use : uses) {
        use.again[order] += before >= 0 && before >= t - use.tokens;
        if (t >= use.chunks * use.tokens) continue;
        ++use.reads[order];
        use.unique[order] += before < t - t % use.tokens;
      }
    }
  return uses;
}

std::vector<Popularity> popularity(const Reads& reads) {
  std::vector<std::uint32_t> counts(reads.row_of.size());
  for (const std::uint32_t row : reads.rows) ++counts[row];
  std::vector<Popularity> all;
  for (int order = 2; order <= reads.max_ngram_size; ++order) {
    std::vector<std::uint32_t> of_order;
    for (std::size_t n = 0; n < counts.size(); ++n)
      if (reads.order_of[n] == order) of_order.push_back(counts[n]);
    std::sort(of_order.begin(), of_order.end(), std::greater<>());
    Popularity found;
    found.order = order;
    found.unique = static_cast<Index>(of_order.size());
    found.reads = std::accumulate(of_order.begin(), of_order.end(), Index{0});
    found.once = std::count(of_order.begin(), of_order.end(), 1u);
    for (const double share : {0.0001, 0.001, 0.01, 0.1}) {
      const auto rows = static_cast<std::ptrdiff_t>(share * static_cast<double>(of_order.size()));
      const Index of_them = std::accumulate(of_order.begin(), of_order.begin() + rows, Index{0});
      found.top.emplace_back(
          share,
          found.reads == 0 ? 0 : static_cast<double>(of_them) / static_cast<double>(found.reads));
    }
    all.push_back(found);
  }
  return all;
}

std::vector<Index> hot_rows(const Reads& reads, std::size_t count) {
  std::vector<Index> rows;
  for (const std::uint32_t n : by_frequency(reads, reads.rows.size(), count, all_orders))
    rows.push_back(reads.row_of[n]);
  return rows;
}

}  // namespace engram::simulate
