// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "merge_table.hpp"

#include <algorithm>

namespace engram::bpe {
namespace {

constexpr std::size_t short_piece = 32;

}  // namespace

MergeTable::MergeTable(std::size_t merges) {
  std::size_t slots = 16;
  while (slots < 2 * merges) slots *= 2;
  slots_.resize(slots);
  mask_ = slots - 1;
}

void MergeTable::set(std::int32_t left, std::int32_t right, Merge merge) {
  const std::uint64_t key = key_of(left, right);
  std::size_t i = slot_of(key);
  while (slots_[i].key != key && slots_[i].key != no_key) i = (i + 1) & mask_;
  slots_[i] = {key, merge};
}

void MergeTable::apply(std::vector<std::int32_t>& ids) const {
  if (ids.size() < 2) return;
  if (ids.size() <= short_piece)
    apply_short(ids);
  else
    apply_long(ids);
}

void MergeTable::apply_short(std::vector<std::int32_t>& ids) const {
  Merge merges[short_piece];  // of token i with token i + 1
  std::size_t n = ids.size();
  for (std::size_t i = 0; i + 1 < n; ++i) merges[i] = find(ids[i], ids[i + 1]);
  while (n > 1) {
    std::size_t best = n;
    // As unsigned numbers "no merge" is the largest rank.
    std::uint32_t rank = ~std::uint32_t{0};
    for (std::size_t i = 0; i + 1 < n; ++i) {
      if (static_cast<std::uint32_t>(merges[i].rank) >= rank) continue;
      rank = static_cast<std::uint32_t>(merges[i].rank);
      best = i;
    }
    if (best == n) break;
    ids[best] = merges[best].id;
    for (std::size_t i = best + 1; i + 1 < n; ++i) {
      ids[i] = ids[i + 1];
      merges[i] = merges[i + 1];
    }
    --n;
    if (best > 0) merges[best - 1] = find(ids[best - 1], ids[best]);
    if (best + 1 < n) merges[best] = find(ids[best], ids[best + 1]);
  }
  ids.resize(n);
}

// The tokens form a linked list over their first positions; possible merges wait in a heap. An
// entry whose two tokens have changed since is dropped when it comes up.
void MergeTable::apply_long(std::vector<std::int32_t>& ids) const {
  struct Candidate {
    std::int32_t rank;
    std::int32_t id;
    std::size_t at;
    std::int32_t left, right;
  };
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
  };
  constexpr std::size_t none = ~std::size_t{0};
  const std::size_t n = ids.size();
  std::vector<std::size_t> next(n), previous(n);
  std::vector<Candidate> heap;
  const auto candidate = [&](std::size_t at) -> bool {
    const Merge merge = find(ids[at], ids[next[at]]);
    if (merge.rank < 0) return false;
    heap.push_back({merge.rank, merge.id, at, ids[at], ids[next[at]]});
    return true;
  };
  for (std::size_t i = 0; i < n; ++i) {
    next[i] = i + 1 < n ? i + 1 : none;
    previous[i] = i > 0 ? i - 1 : none;
  }
  for (std::size_t i = 0; i + 1 < n; ++i) candidate(i);
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    const Candidate top = heap.front();
    std::pop_heap(heap.begin(), heap.end(), later);
    heap.pop_back();
    const std::size_t right = next[top.at];
    if (ids[top.at] != top.left || right == none || ids[right] != top.right) continue;
    ids[top.at] = top.id;
    ids[right] = -1;  // gone: no candidate names it
    next[top.at] = next[right];
    if (next[right] != none) {
      previous[next[right]] = top.at;
      if (candidate(top.at)) std::push_heap(heap.begin(), heap.end(), later);
    }
    if (previous[top.at] != none && candidate(previous[top.at]))
      std::push_heap(heap.begin(), heap.end(), later);
  }
  ids.erase(std::remove(ids.begin(), ids.end(), -1), ids.end());
}

}  // namespace engram::bpe
