// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What every consumer project computes: one line of text that touches each floor of the library.
// However a program was compiled and linked, the line must be the same.

#include <engram/engram.hpp>

#include <cstdio>
#include <span>
#include <string>
#include <vector>

// In an unnamed namespace, because a program may hold several copies, each compiled differently.
namespace {

// 500 tokens, half of them the token map's repeats, addressed under one kind of hash.
template <class Addressing>
std::string digest_of_rows(engram::Mixer mixer) {
  std::vector<std::int32_t> canonical_ids;
  for (std::int32_t i = 0; i < 300; ++i) canonical_ids.push_back(i / 2);
  const engram::TokenMap map = engram::TokenMap::make(canonical_ids).value();

  engram::AddressingConfig config;
  config.engram_vocab_size = {1000, 2000, 3000};
  config.max_ngram_size = 4;
  config.n_head_per_ngram = 8;
  config.layer_ids = {1, 14};
  config.mixer = mixer;
  const engram::Layout layout = engram::make_layout(config, map).value();
  const auto front = engram::make_front_end<Addressing>(layout, map).value();

  std::vector<std::int32_t> tokens;
  for (std::int32_t i = 0; i < 500; ++i) tokens.push_back(i * i % 299);
  std::vector<std::int64_t> rows(500 * 2 * 24);
  engram::NgramState state = front.initial_state();
  const engram::Status status = front.address(
      tokens, state,
      engram::View<std::int64_t, 3>(rows.data(), 500, front.num_layers(), front.num_columns()));
  return std::string(to_string(status.code)) + " " + engram::layout_digest(layout) + " " +
         engram::sha256_hex(std::as_bytes(std::span(rows)));
}

// Two tokens through a layer: the gathered elements to the bit, and the sum of the new hidden state
// to three digits, because flags may change the last bits of a float.
std::string digest_of_layer() {
  using namespace engram;
  HostStore store = HostStore::make(40, 64, 2).value();
  for (Index r = 0; r < 40; ++r) {
    const MutableRowBytes row = store.mutable_ref()(r);
    for (Index d = 0; d < 64; ++d) row.codes[d] = static_cast<std::byte>((7 * r + 5 * d) % 120);
    row.scales[0] = row.scales[1] = static_cast<std::byte>(120 + r % 3);
  }
  AnyTable table(Table<HostStore, Fp8Codec>::make(std::move(store), {}, 64).value());
  std::vector<float> matrix(3 * 40 * 128);
  for (std::size_t i = 0; i < matrix.size(); ++i)
    matrix[i] = static_cast<float>(i * 31 % 17) / 64 - 0.125f;
  const auto projection = ReferenceProjection<float>::make(
                              fused_weights(View<const float, 2>(matrix.data(), 3 * 40, 128), 2))
                              .value();
  std::vector<float> taps(2 * 2 * 40, 0.25f);
  FusionWeights weights;
  weights.conv = View<const float, 3>(taps.data(), 2, 2, 40);
  const EngramLayer layer(table, projection, weights, FusionConfig{});
  const std::vector<std::int32_t> rows = {3, 39, 0, 21};
  const View<const std::int32_t, 2> ids(rows.data(), 2, 2);
  std::vector<float> e(2 * 128), stream(2 * 2 * 40, 0.5f), state(2 * 40);
  std::vector<std::byte> workspace(static_cast<std::size_t>(layer.workspace_bytes(2)));
  const Status gathered = layer.gather(ids, View<float, 2>(e.data(), 2, 128));
  FusionOptions options;
  options.conv_state = View<float, 2>(state.data(), 1, 2 * 40);
  const View<float, 3> x(stream.data(), 2, 2, 40);
  const Status done = layer.forward(ids, x, x, workspace, options);
  double sum = 0;
  for (const float v : stream) sum += v;
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", sum);
  return std::string(to_string(gathered.code)) + " " + sha256_hex(std::as_bytes(std::span(e))) +
         " " + to_string(done.code) + " " + text;
}

std::string answer() {
  return digest_of_rows<engram::MultiplicativeXor>(engram::Mixer::multiplicative_xor) + "; " +
         digest_of_rows<engram::Polynomial>(engram::Mixer::polynomial) + "; " + digest_of_layer();
}

}  // namespace
