// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "pair_counts.hpp"

#include <utility>

namespace engram::bpe {

PairCounts::PairCounts() : slots_(1 << 16) {}

std::size_t PairCounts::slot_of(std::int32_t left, std::int32_t right) const noexcept {
  const std::uint64_t key = static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
                            static_cast<std::uint32_t>(right);
  return static_cast<std::size_t>((key ^ (key >> 32)) * 0x9E3779B97F4A7C15u >> 32) &
         (slots_.size() - 1);
}

void PairCounts::grow() {
  slots_.assign(2 * slots_.size(), 0);
  for (std::uint32_t n = 0; n < size(); ++n) {
    std::size_t i = slot_of(pairs_[n].left, pairs_[n].right);
    while (slots_[i] != 0) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = n + 1;
  }
}

std::uint32_t PairCounts::number_of(std::int32_t left, std::int32_t right) {
  std::size_t i = slot_of(left, right);
  for (; slots_[i] != 0; i = (i + 1) & (slots_.size() - 1)) {
    const Pair& pair = pairs_[slots_[i] - 1];
    if (pair.left == left && pair.right == right) return slots_[i] - 1;
  }
  pairs_.push_back({left, right, 0, 0, {}});
  slots_[i] = size();
  if (2 * pairs_.size() > slots_.size()) grow();
  return size() - 1;
}

void PairCounts::gain(std::int32_t left, std::int32_t right, std::uint32_t piece) {
  const std::uint32_t number = number_of(left, right);
  Pair& pair = pairs_[number];
  pair.count += pieces_[piece].count;
  if (pair.pieces.empty() || pair.pieces.back() != piece) pair.pieces.push_back(piece);
  if (pair.round != round_) {
    pair.round = round_;
    gained_.push_back(number);
  }
}

void PairCounts::lose(std::int32_t left, std::int32_t right, std::uint32_t piece) {
  pairs_[number_of(left, right)].count -= pieces_[piece].count;
}

void PairCounts::add(std::vector<std::int32_t> ids, std::int64_t count) {
  const auto piece = static_cast<std::uint32_t>(pieces_.size());
  pieces_.push_back({ids_.size(), static_cast<std::uint32_t>(ids.size()), count});
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) gain(ids[i], ids[i + 1], piece);
}

// Within a piece the counts follow each single replacement, so that they stay exact where the pair
// overlaps itself ("aaa") or stands several times.
std::vector<std::uint32_t> PairCounts::merge(std::uint32_t number, std::int32_t id) {
  ++round_;
  gained_.clear();
  const std::int32_t left = pairs_[number].left;
  const std::int32_t right = pairs_[number].right;
  const std::vector<std::uint32_t> places = std::exchange(pairs_[number].pieces, {});
  for (const std::uint32_t place : places) {
    Piece& piece = pieces_[place];
    std::int32_t* const ids = ids_.data() + piece.begin;
    std::uint32_t out = 0;
    for (std::uint32_t in = 0; in < piece.size; ++in) {
      if (in + 1 == piece.size || ids[in] != left || ids[in + 1] != right) {
        ids[out++] = ids[in];
        continue;
      }
      lose(left, right, place);
      if (out > 0) {
        lose(ids[out - 1], left, place);
        gain(ids[out - 1], id, place);
      }
      if (in + 2 < piece.size) {
        lose(right, ids[in + 2], place);
        gain(id, ids[in + 2], place);
      }
      ids[out++] = id;
      ++in;
    }
    piece.size = out;
  }
  return gained_;
}

}  // namespace engram::bpe
