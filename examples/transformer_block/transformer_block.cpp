// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A memory inside a transformer block written plainly: what it knows of the last two and three
// tokens is added to the hidden state, then attention follows. A prompt taken at once and token by
// token must give the same bits.

#include <engram/engram.hpp>

#include <cmath>
#include <cstdio>
#include <numeric>

using namespace engram;

constexpr const char* words[] = {"the", "cat", "sat", "on", "mat", "and", "purred", "."};
constexpr std::size_t width = 64;             // of the hidden state, which has one branch
constexpr Index columns = 8, row_width = 16;  // 2- and 3-grams with 4 heads each
using Floats = std::vector<float>;

/// Weights as training might have left them; for an example any fixed numbers will do.
Floats numbers(std::size_t count, float scale) {
  static std::uint64_t state = 1;
  Floats made(count);
  for (float& x : made) {
    state = state * 6364136223846793005u + 1;
    x = scale * (static_cast<float>(state >> 40) / 8388608 - 1);
  }
  return made;
}

void must(Status status, const char* call) {
  if (!status.ok()) raise(fail(status.code, describe(status, call)));
}

Floats product(const Floats& weight, const Floats& x) {
  Floats y(weight.size() / x.size());
  for (std::size_t i = 0; i < y.size(); ++i)
    y[i] = std::inner_product(x.begin(), x.end(), &weight[i * x.size()], 0.0f);
  return y;
}

/// One head of causal attention behind an RMSNorm, with its cache; adds to a token's hidden state.
struct Attention {
  Floats q = numbers(width * width, 0.2f), k = numbers(q.size(), 0.2f), v = numbers(q.size(), 0.2f);
  std::vector<Floats> keys{}, values{};

  void forward(float* hidden) {
    Floats x(hidden, hidden + width), mixed(width);
    const float squares = std::inner_product(x.begin(), x.end(), x.begin(), 0.0f);
    for (float& value : x) value /= std::sqrt(squares / width + 1e-6f);
    const Floats query = product(q, x);
    keys.push_back(product(k, x));
    values.push_back(product(v, x));
    float sum = 0;
    for (std::size_t t = 0; t < keys.size(); ++t) {
      const float dot = std::inner_product(query.begin(), query.end(), keys[t].begin(), 0.0f);
      const float weight = std::exp(dot / std::sqrt(float(width)));
      sum += weight;
      for (std::size_t d = 0; d < width; ++d) mixed[d] += weight * values[t][d];
    }
    for (std::size_t d = 0; d < width; ++d) hidden[d] += mixed[d] / sum;
  }
};

/// Runs the block over a text, `step` tokens a call. What a sequence carries from call to call: the
/// attention's cache, the last ids, and the last columns of the memory's convolution.
Floats run_block(const auto& front, const auto& memory, Attention attention, Floats hidden,
                 const std::vector<int>& ids, Index step) {
  NgramState last_ids = front.initial_state();
  Floats last_columns(std::size_t(memory.conv_state_size())), gate(ids.size());
  std::vector<std::byte> workspace(std::size_t(memory.workspace_bytes(step)));
  std::vector<int> rows(std::size_t(step * columns));
  for (Index begin = 0, count; begin < std::ssize(ids); begin += count) {
    count = std::min<Index>(step, std::ssize(ids) - begin);
    const View<const int, 1> tokens = View(ids).slice(begin, count);
    // Row ids depend on the tokens alone, so an engine can fetch rows while earlier blocks run.
    must(front.address(tokens, last_ids, View<int, 3>(rows.data(), count, 1, columns)), "address");
    const View<const int, 2> reads(rows.data(), count, columns);
    const View<float, 3> stream(&hidden[width * std::size_t(begin)], count, 1, width);
    FusionOptions options;
    options.conv_state = View<float, 2>(last_columns.data(), 1, memory.conv_state_size());
    options.gates = View<float, 2>(gate.data(), count, 1);
    must(memory.forward(reads, stream, stream, workspace, options), "forward");
    for (Index t = 0; t < count; ++t) {
      attention.forward(&stream(t, 0, 0));
      if (count == 1) continue;  // the prompt has shown it
      std::printf("%-8s %8d %8d %8.3f\n", words[tokens(t)], reads(t, 0), reads(t, 4),
                  options.gates(t, 0));
    }
  }
  return hidden;
}

int main() {
  EngramConfig config;
  config.engram_vocab_size = {1000, 1000};  // rows of a head, for each order
  config.n_head_per_ngram = columns / 2;
  config.layer_ids = {1};
  const IdentityCompressor canonical(std::size(words));
  const auto front = make_front_end(make_layout(config, canonical).value(), canonical).value();
  HostStore store = HostStore::make(front.num_rows(0), 4 * row_width).value();
  const Floats rows = numbers(std::size_t(store.num_rows() * row_width), 1);
  std::memcpy(store.mutable_ref()(0).codes, rows.data(), 4 * rows.size());
  const auto table = Table<HostStore, F32Codec>::make(std::move(store), {}, row_width).value();
  const Floats matrix = numbers(2 * width * columns * row_width, 0.1f);  // the key, then the value
  const View<const float, 2> key_value(matrix.data(), 2 * width, columns * row_width);
  const auto projection = ReferenceProjection<float>::make(fused_weights(key_value, 1)).value();
  const Floats conv = numbers(4 * width, 0.3f);
  FusionWeights weights;
  weights.conv = View<const float, 3>(conv.data(), 4, 1, width);  // four taps
  const EngramLayer memory(table, projection, weights, {});
  memory.check().value();
  const std::vector<int> ids = {0, 1, 2, 3, 0, 4, 5, 0, 1, 6, 7};
  const Floats hidden = numbers(ids.size() * width, 1);  // as earlier blocks would leave it
  const Attention attention;
  std::printf("token    2-gram: row  3-gram: row   gate\n");
  const Floats prompt = run_block(front, memory, attention, hidden, ids, std::ssize(ids));
  const bool same = prompt == run_block(front, memory, attention, hidden, ids, 1);
  std::printf("\nprompt at once and token by token: %s\n", same ? "the same bits" : "DIFFERENT");
  return same ? 0 : 1;
}
