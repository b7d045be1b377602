// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "hashed_rows.hpp"

#include <engram/addressing/make_layout.hpp>
#include <engram/training/init.hpp>
#include <engram/training/row_update.hpp>

#include <algorithm>
#include <numeric>

namespace engram::lm {
namespace {

constexpr LazyAdam row_optimizer{.beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f};

AddressingConfig addressing_of(const ModelConfig& config) {
  AddressingConfig addressing;
  addressing.pad_id = 0;
  if (config.bigrams) {
    addressing.engram_vocab_size = {config.bigrams->rows};
    addressing.max_ngram_size = 2;
    addressing.n_head_per_ngram = 1;
    addressing.layer_ids = {0};
    return addressing;
  }
  const MemoryConfig& memory = *config.memory;
  addressing.engram_vocab_size = memory.rows_per_head;
  addressing.max_ngram_size = static_cast<std::int32_t>(memory.rows_per_head.size()) + 1;
  addressing.n_head_per_ngram = static_cast<std::int32_t>(memory.heads);
  addressing.layer_ids = {1};  // whatever the block: the addresses do not depend on it
  if (std::all_of(memory.rows_per_head.begin(), memory.rows_per_head.end(),
                  [](Index rows) { return rows == 1; })) {
    addressing.modulus_rule = ModulusRule::explicit_values;
    addressing.moduli.assign(memory.rows_per_head.size() * static_cast<std::size_t>(memory.heads),
                             1);
  }
  return addressing;
}

}  // namespace

Result<HashedRows> HashedRows::make(const ModelConfig& config, const TokenMap& map) {
  const Index width = config.bigrams ? config.width : config.memory->row_width;
  Result<Layout> layout = make_layout(addressing_of(config), map);
  if (!layout.ok()) return layout.failure();
  Result<TokenFrontEnd> front = make_front_end(layout.value(), map);
  if (!front.ok()) return front.failure();
  Result<HostStore> store =
      HostStore::make(front.value().num_rows(0), 4 * width, 0, {.stride = 4 * width});
  if (!store.ok()) return store.failure();
  Result<RowTable> table = RowTable::make(std::move(store).value(), {}, width);
  if (!table.ok()) return table.failure();
  HashedRows made(config, std::move(layout).value(), std::move(front).value(),
                  std::move(table).value());
  if (made.frozen_)
    if (const Status filled = fill_rows_normal(made.table_, 0.02f, splitmix64(config.seed));
        !filled.ok())
      return fail(filled.code, describe(filled, "fill_rows_normal"));
  return made;
}

HashedRows::HashedRows(const ModelConfig& config, Layout layout, TokenFrontEnd front,
                       RowTable table)
    : context_(config.context),
      rate_(config.bigrams ? config.bigrams->row_rate : config.memory->row_rate),
      frozen_(config.memory && config.memory->frozen),
      shuffled_(config.memory && config.memory->shuffled),
      seed_(config.seed),
      layout_(std::move(layout)),
      front_(std::move(front)),
      table_(std::move(table)) {
  if (!frozen_)
    state_.resize(
        static_cast<std::size_t>(table_.num_rows() * row_optimizer.state_width(row_width())));
}

Status HashedRows::address(const std::int32_t* tokens, Index sequences, Index stride,
                           std::vector<std::int32_t>& rows) const {
  const Index count = sequences * context_;
  rows.resize(static_cast<std::size_t>(count * columns()));
  const View<std::int32_t, 3> to(rows.data(), count, 1, columns());
  for (Index s = 0; s < sequences; ++s) {
    NgramState state = front_.initial_state();
    if (const Status status =
            front_.address(View<const std::int32_t, 1>(tokens + s * stride, context_), state,
                           to.slice(s * context_, context_));
        !status.ok())
      return status;
  }
  if (shuffled_) shuffle(rows);
  return {};
}

/// Each position takes the rows of another one: a random permutation of one cycle (Sattolo).
void HashedRows::shuffle(std::vector<std::int32_t>& rows) const {
  const Index h = columns();
  std::vector<Index> from(rows.size() / static_cast<std::size_t>(h));
  std::iota(from.begin(), from.end(), Index{0});
  std::uint64_t z = seed_;
  for (std::size_t t = 0; t < from.size(); ++t)
    z = splitmix64(z ^ static_cast<std::uint64_t>(rows[t * static_cast<std::size_t>(h)]));
  for (std::size_t t = from.size() - 1; t > 0; --t) {
    z = splitmix64(z);
    std::swap(from[t], from[z % t]);
  }
  const std::vector<std::int32_t> own = rows;
  for (std::size_t t = 0; t < from.size(); ++t)
    std::copy_n(own.begin() + from[t] * h, h, rows.begin() + static_cast<Index>(t) * h);
}

Status HashedRows::update(View<const std::int32_t, 2> rows, View<const float, 2> to_rows,
                          float rate, Index step) {
  if (frozen_) return {};
  const Index count = rows.size(), width = row_width();
  unique_.resize(static_cast<std::size_t>(count));
  sums_.resize(static_cast<std::size_t>(count * width));
  reducing_.resize(static_cast<std::size_t>(row_gradient_workspace_bytes(count, width)));
  RowGradients<std::int32_t> found;
  if (const Status status = reduce_row_gradients(
          rows, to_rows, table_.num_rows(), View<std::int32_t, 1>(unique_),
          View<float, 2>(sums_.data(), count, width), found, View<std::byte, 1>(reducing_));
      !status.ok())
    return status;
  const RowStep moved{
      .rate = rate * rate_, .step = static_cast<std::uint64_t>(step), .seed = seed_};
  return update_rows(
      table_, found,
      View<float, 2>(state_.data(), table_.num_rows(), row_optimizer.state_width(width)),
      row_optimizer, moved);
}

}  // namespace engram::lm
