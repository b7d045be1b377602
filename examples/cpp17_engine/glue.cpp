// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The one file of the engine that sees engram and is compiled as C++20.
#include "memory.hpp"

#include <engram/engram.hpp>

#include <optional>

namespace {

using namespace engram;

constexpr Index columns = 4, row_width = 8, inputs = columns * row_width, hidden_width = 32;
using Front = decltype(make_front_end(std::declval<Layout>(), std::declval<TokenMap>()).value());

/// Numbers that stand for trained weights.
std::vector<float> numbers(Index count, float scale) {
  static std::uint32_t last = 0;
  std::vector<float> made;
  while (std::ssize(made) < count)
    made.push_back(scale * (static_cast<float>(++last * 2654435761u >> 8) / 8388608 - 1));
  return made;
}

class EngramMemory final : public Memory {
 public:
  bool load(const std::vector<std::int32_t>& token_map, std::string* why) override {
    auto map = TokenMap::make(token_map);
    if (!map.ok()) return refuse(map.message(), why);
    EngramConfig config;
    config.engram_vocab_size = {500, 500};  // rows of a head, for 2-grams and 3-grams
    config.n_head_per_ngram = columns / 2;
    config.layer_ids = {1};
    config.pad_id = 0;
    const auto layout = make_layout(config, map.value());
    if (!layout.ok()) return refuse(layout.message(), why);
    auto front = make_front_end(layout.value(), std::move(map).value());
    if (!front.ok()) return refuse(front.message(), why);
    auto store = HostStore::make(front.value().num_rows(0), 4 * row_width);
    if (!store.ok()) return refuse(store.message(), why);
    const auto rows = store.value().mutable_ref();
    for (Index r = 0; r < store.value().num_rows(); ++r)
      std::memcpy(rows(r).codes, numbers(row_width, 1).data(), 4 * row_width);
    parts_.emplace(std::move(front).value(), std::move(store).value());
    restart();
    return true;
  }

  bool forward(const std::int32_t* tokens, int count, float* hidden, std::string* why) override {
    std::vector<int> rows(std::size_t(count * columns));
    const View<int, 3> by_layer(rows.data(), count, 1, columns);
    const View<const std::int32_t, 1> ids(tokens, count);
    const Status addressed = parts_->front.address(ids, state_, by_layer);
    if (!addressed.ok()) return refuse(describe(addressed, "address"), why);
    workspace_.resize(std::size_t(parts_->layer.workspace_bytes(count)));
    const View<float, 3> stream(hidden, count, 1, hidden_width);
    const View<const int, 2> reads(rows.data(), count, columns);
    const Status done = parts_->layer.forward(reads, stream, stream, workspace_);
    return done.ok() || refuse(describe(done, "forward"), why);
  }

  void restart() override { state_ = parts_->front.initial_state(); }
  int width() const override { return hidden_width; }

 private:
  /// What refers to each other: made in place, never moved.
  struct Parts {
    Parts(Front made, HostStore store)
        : front(std::move(made)),
          table(Table<HostStore, F32Codec>::make(std::move(store), {}, row_width).value()),
          projection(
              ReferenceProjection<float>::make(
                  fused_weights(View<const float, 2>(matrix.data(), 2 * hidden_width, inputs), 1))
                  .value()),
          layer(table, projection, {}, {}) {}

    Front front;
    Table<HostStore, F32Codec> table;
    std::vector<float> matrix = numbers(2 * hidden_width * inputs, 0.3f);
    ReferenceProjection<float> projection;
    EngramLayer<Table<HostStore, F32Codec>, ReferenceProjection<float>, SignedSqrtGate> layer;
  };

  static bool refuse(const std::string& sentence, std::string* why) {
    *why = sentence;
    return false;
  }

  std::optional<Parts> parts_;
  NgramState state_{};
  std::vector<std::byte> workspace_;
};

}  // namespace

std::unique_ptr<Memory> make_memory() { return std::make_unique<EngramMemory>(); }
