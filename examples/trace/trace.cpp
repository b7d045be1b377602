// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "trace.hpp"

#include "bpe/printable.hpp"

#include <engram/layer/front_end.hpp>

#include <algorithm>
#include <array>
#include <numeric>

namespace engram::trace {

namespace {

using Ngram = std::array<std::int32_t, max_order>;  // newest first, -1 beyond its order

/// Windows and rows of a whole text.
struct Followed {
  std::vector<NgramWindow> windows;  // [T]
  std::vector<Index> rows;           // [T, L, H]
};

template <class Addressing>
Result<Followed> follow(const Layout& layout, const TokenMap& map,
                        const std::vector<std::int32_t>& ids) {
  const auto front = make_front_end<Addressing>(layout, map);
  if (!front.ok()) return front.failure();
  Followed followed;
  const auto tokens = static_cast<Index>(ids.size());
  const auto layers = static_cast<Index>(layout.layers.size());
  followed.rows.resize(static_cast<std::size_t>(tokens * layers * layout.columns()));
  NgramState state = front.value().initial_state();
  const Status status = front.value().address(
      ids, state, View<Index, 3>(followed.rows.data(), tokens, layers, layout.columns()));
  if (!status.ok()) return fail(status.code, describe(status, "trace"), status.index);
  state = front.value().initial_state();
  for (const std::int32_t id : ids)
    followed.windows.push_back(front.value().extractor().push(state, map(id), Mark::token));
  return followed;
}

Ngram ngram_of(const NgramWindow& window, int order) {
  Ngram ngram;
  for (int s = 0; s < max_order; ++s)
    ngram[static_cast<std::size_t>(s)] = s < order ? window.ids[s] : -1;
  return ngram;
}

/// How many of the values stand at least twice.
template <class T>
Index count_shared(std::vector<T> values) {
  std::sort(values.begin(), values.end());
  Index shared = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool as_before = i > 0 && values[i] == values[i - 1];
    const bool as_after = i + 1 < values.size() && values[i] == values[i + 1];
    shared += as_before || as_after ? 1 : 0;
  }
  return shared;
}

OrderSummary summarize(const Layout& layout, const Followed& followed, int order) {
  OrderSummary summary;
  summary.order = order;
  const std::size_t tokens = followed.windows.size();
  const auto heads = static_cast<std::size_t>(layout.heads);
  const auto stride = layout.layers.size() * static_cast<std::size_t>(layout.columns());
  const std::size_t first_column = static_cast<std::size_t>(order - 2) * heads;
  summary.reads = static_cast<Index>(tokens * heads);

  // One position of each distinct n-gram.
  std::vector<std::size_t> places(tokens);
  std::iota(places.begin(), places.end(), std::size_t{0});
  const auto ngram = [&](std::size_t t) { return ngram_of(followed.windows[t], order); };
  std::sort(places.begin(), places.end(),
            [&](std::size_t a, std::size_t b) { return ngram(a) < ngram(b); });
  places.erase(std::unique(places.begin(), places.end(),
                           [&](std::size_t a, std::size_t b) { return ngram(a) == ngram(b); }),
               places.end());
  summary.distinct = static_cast<Index>(places.size());

  std::vector<std::vector<Index>> everywhere(places.size());
  double shared = 0;
  for (std::size_t head = 0; head < heads; ++head) {
    std::vector<Index> rows;
    for (std::size_t i = 0; i < places.size(); ++i) {
      rows.push_back(followed.rows[places[i] * stride + first_column + head]);
      everywhere[i].push_back(rows.back());
    }
    shared += static_cast<double>(count_shared(rows));
    std::sort(rows.begin(), rows.end());
    summary.unique_rows += std::unique(rows.begin(), rows.end()) - rows.begin();
  }
  summary.collided_in_all_heads = count_shared(std::move(everywhere));
  if (tokens > 0) {
    summary.reuse =
        1 - static_cast<double>(summary.unique_rows) / static_cast<double>(summary.reads);
    summary.collisions = shared / static_cast<double>(heads * places.size());
  }
  return summary;
}

}  // namespace

Result<Trace> trace_text(const bpe::Encoder& encoder, const TokenMap& map, const Layout& layout,
                         std::string_view text, Index limit) {
  const Result<std::vector<std::int32_t>> encoded = encoder.encode(text);
  if (!encoded.ok()) return encoded.failure();
  const std::vector<std::int32_t>& ids = encoded.value();
  const Result<Followed> result = layout.mixer == Mixer::polynomial
                                      ? follow<Polynomial>(layout, map, ids)
                                      : follow<MultiplicativeXor>(layout, map, ids);
  if (!result.ok()) return result.failure();
  const Followed& followed = result.value();

  Trace trace;
  trace.tokens = static_cast<Index>(ids.size());
  const auto columns = static_cast<std::size_t>(layout.columns());
  for (std::size_t t = 0; t < ids.size() && static_cast<Index>(t) < limit; ++t) {
    TokenLine& line = trace.first.emplace_back();
    line.text = bpe::printable(encoder.token(ids[t]));
    line.token_id = ids[t];
    line.canonical_id = to_integer(map(ids[t]));
    std::string ngram = line.text;
    for (int order = 2; order <= layout.max_ngram_size; ++order) {
      const int back = order - 1;
      const bool blocked = followed.windows[t].ids[back] < 0;
      ngram =
          (blocked ? "-" : bpe::printable(encoder.token(ids[t - static_cast<std::size_t>(back)]))) +
          '|' + ngram;
      line.ngrams.push_back(ngram);
    }
    for (std::size_t l = 0; l < layout.layers.size(); ++l) {
      const Index* row = followed.rows.data() + (t * layout.layers.size() + l) * columns;
      line.rows.emplace_back(row, row + columns);
    }
  }
  for (int order = 2; order <= layout.max_ngram_size; ++order)
    trace.orders.push_back(summarize(layout, followed, order));
  return trace;
}

}  // namespace engram::trace
