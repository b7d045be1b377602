// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "reads.hpp"

#include <engram/addressing/hash_rows.hpp>
#include <engram/core/splitmix.hpp>

namespace engram::simulate {

std::uint32_t RowNumbers::operator()(Index row) {
  if (2 * rows_.size() >= slots_.size()) {
    slots_.assign(2 * slots_.size(), 0);
    for (std::uint32_t n = 0; n < rows_.size(); ++n) {
      std::size_t at = splitmix64(static_cast<std::uint64_t>(rows_[n])) & (slots_.size() - 1);
      while (slots_[at] != 0) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = n + 1;
    }
  }
  std::size_t at = splitmix64(static_cast<std::uint64_t>(row)) & (slots_.size() - 1);
  for (; slots_[at] != 0; at = (at + 1) & (slots_.size() - 1))
    if (rows_[slots_[at] - 1] == row) return slots_[at] - 1;
  rows_.push_back(row);
  slots_[at] = static_cast<std::uint32_t>(rows_.size());
  return slots_[at] - 1;
}

namespace {

template <class Hash>
Result<Reads> follow(RowTrace& trace, Index sample) {
  const Layout& layout = trace.layout();
  const Result<Hash> made = Hash::make(layout);
  if (!made.ok()) return made.failure();
  const auto layers = static_cast<Index>(layout.layers.size());
  if (sample < 1 || layers * layout.heads % sample != 0)
    return fail(Code::invalid_config,
                {"a sample of one in ", sample, " columns, but an order of ", trace.path(), " has ",
                 layers * layout.heads, " of them, which that does not divide"});
  Reads reads;
  reads.sample = sample;
  reads.max_ngram_size = layout.max_ngram_size;
  reads.heads = layout.heads;
  reads.layout_digest = layout_digest(layout);
  std::vector<Index> first_row;
  for (const LayerLayout& layer : layout.layers) {
    first_row.push_back(reads.table_rows());
    reads.layers.push_back({layer.layer_id, layer.rows});
  }
  std::vector<Index> rows(static_cast<std::size_t>(window_block * layers * layout.columns()));
  RowNumbers numbers;
  std::vector<NgramWindow> windows;
  for (;;) {
    const Result<Index> got = trace.next(windows);
    if (!got.ok()) return got.failure();
    if (got.value() == 0) break;
    for (Index at = 0; at < got.value(); at += window_block) {
      const Index count = std::min(window_block, got.value() - at);
      const View<Index, 3> view(rows.data(), count, layers, layout.columns());
      address_windows(made.value(), windows.data() + at, count, view);
      for (Index t = 0; t < count; ++t) {
        const std::size_t before = reads.rows.size();
        for (Index l = 0; l < layers; ++l)
          for (Index c = 0; c < layout.columns(); ++c) {
            if ((l * layout.heads + c % layout.heads) % sample != 0) continue;
            const std::uint32_t number =
                numbers(first_row[static_cast<std::size_t>(l)] + view(t, l, c));
            if (number == reads.order_of.size())
              reads.order_of.push_back(static_cast<std::uint8_t>(2 + c / layout.heads));
            reads.rows.push_back(number);
          }
        reads.reads_of.push_back(static_cast<std::uint32_t>(reads.rows.size() - before));
        if (reads.rows.size() >= UINT32_MAX)
          return fail(Code::unsupported, {trace.path(), ": more than ", UINT32_MAX - 1,
                                          " row reads; follow fewer columns"});
      }
    }
    reads.tokens += got.value();
  }
  reads.row_of = std::move(numbers).take();
  return reads;
}

}  // namespace

Result<Reads> read_trace(RowTrace& trace, Index sample) {
  return trace.layout().mixer == Mixer::polynomial ? follow<Polynomial>(trace, sample)
                                                   : follow<MultiplicativeXor>(trace, sample);
}

}  // namespace engram::simulate
