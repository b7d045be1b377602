// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The small language model: gradients of all weights and rows against differences of the loss, the
// same bits for any number of threads, what it costs, what it refuses.
#if __has_include(<Eigen/Core>) && __has_include("lm/train.hpp")

#include <catch.hpp>
#include <contains.hpp>
#include <random.hpp>
#include <scratch.hpp>

#include "lm/network.hpp"
#include "lm/train.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

using namespace engram;

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

TokenMap identity_map(Index size) {
  std::vector<std::int32_t> canonical;
  for (Index i = 0; i < size; ++i) canonical.push_back(static_cast<std::int32_t>(i));
  return TokenMap::make(canonical).value();
}

lm::ModelConfig tiny(Index branches, bool memory) {
  lm::ModelConfig c;
  c.vocab_size = 13;
  c.width = 8;
  c.blocks = 2;
  c.context = 6;
  c.heads = 2;
  c.experts = 4;
  c.expert_width = 5;
  c.top_k = 2;
  c.shared_width = 3;
  c.branches = branches;
  if (!memory) return c;
  c.memory.emplace();
  c.memory->rows_per_head = {11, 17};
  c.memory->row_width = 3;
  c.memory->taps = 2;
  return c;
}

std::vector<std::int32_t> random_tokens(Index count, Index vocab, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::int32_t> tokens;
  for (Index i = 0; i < count; ++i)
    tokens.push_back(static_cast<std::int32_t>(random.below(vocab)));
  return tokens;
}

/// A network away from its start, where some gradients are 0.
std::unique_ptr<lm::Network> moved_network(const lm::ModelConfig& config) {
  auto network = lm::Network::make(config, identity_map(config.vocab_size)).value();
  Random random(5);
  const auto jitter = [&] {
    return static_cast<float>(static_cast<double>(random.bits() >> 11) * 0x1p-52 - 1);
  };
  for (float& w : network->weights) w += 0.3f * jitter();
  if (network->rows)
    for (Index r = 0; r < network->rows->table().num_rows(); ++r) {
      auto* const row =
          reinterpret_cast<float*>(network->rows->table().store().mutable_ref()(r).codes);
      for (Index d = 0; d < network->rows->row_width(); ++d) row[d] = jitter();
    }
  return network;
}

/// The sum of all losses, and which experts were taken.
double loss_of(const lm::Network& network, const std::vector<std::int32_t>& tokens, Index sequences,
               std::vector<Index>& routes) {
  lm::Network::Tape tape;
  REQUIRE(network.begin(tokens.data(), sequences, tape).ok());
  REQUIRE(network.forward(tape).ok());
  routes.clear();
  for (const auto& block : tape.blocks)
    routes.insert(routes.end(), block.experts.chosen.begin(), block.experts.chosen.end());
  double sum = 0;
  for (const float x : tape.losses) sum += double{x};
  return sum;
}

/// The differences that moving *value makes, with steps of that size; false where the routes
/// change.
bool difference(const lm::Network& network, const std::vector<std::int32_t>& tokens,
                Index sequences, const std::vector<Index>& routes, float* value, float step,
                double& slope) {
  std::vector<Index> others;
  const float kept = *value;
  double sums[4];
  const float places[4] = {-2, -1, 1, 2};
  bool same = true;
  for (int i = 0; i < 4; ++i) {
    *value = kept + places[i] * step;
    sums[i] = loss_of(network, tokens, sequences, others);
    same = same && others == routes;
  }
  *value = kept;
  slope = (sums[0] - 8 * sums[1] + 8 * sums[2] - sums[3]) / (12 * double{step});
  return same;
}

/// Of every `stride`-th weight and row element.
void check_gradients(const lm::ModelConfig& config, std::size_t stride) {
  const auto network = moved_network(config);
  const Index sequences = 3;
  const auto tokens = random_tokens(sequences * (config.context + 1), config.vocab_size, 2);
  const Index positions = sequences * config.context;
  lm::Network::Tape tape;
  lm::Floats gradients(network->weights.size(), std::nanf(""));  // all are written
  const Index row_values =
      network->rows ? network->rows->columns() * network->rows->row_width() : 0;
  std::vector<float> to_rows(at(positions * row_values));
  REQUIRE(network->begin(tokens.data(), sequences, tape).ok());
  REQUIRE(network->forward_backward(tape, 1, gradients.data(), to_rows.data()).ok());

  std::vector<Index> routes;
  (void)loss_of(*network, tokens, sequences, routes);

  int compared = 0, faults = 0;
  const auto compare = [&](float* value, float found, std::size_t i, const char* what) {
    // Where an expert changes, or a score is so near 0 that the gate's root bends within a step,
    // differences say nothing.
    double slope = 0, finer = 0;
    if (!difference(*network, tokens, sequences, routes, value, 0.01f, slope) ||
        !difference(*network, tokens, sequences, routes, value, 0.005f, finer) ||
        std::fabs(slope - finer) > 1e-3 + 2e-3 * std::fabs(slope))
      return;
    ++compared;
    if (std::fabs(found - slope) <= 2e-3 + 5e-3 * std::fabs(slope)) return;
    if (faults++ < 3)
      UNSCOPED_INFO(what << " " << i << ": gradient " << found << ", by differences " << slope);
  };
  for (std::size_t i = 0; i < gradients.size(); i += stride)
    compare(&network->weights[i], gradients[i], i, "weight");
  if (network->rows) {
    const Index width = network->rows->row_width();
    std::vector<float> of_rows(at(network->rows->table().num_rows() * width));
    for (Index i = 0; i < positions * network->rows->columns(); ++i)
      for (Index d = 0; d < width; ++d)
        of_rows[at(tape.rows[at(i)] * width + d)] += to_rows[at(i * width + d)];
    for (std::size_t i = 0; i < of_rows.size(); i += stride)
      compare(reinterpret_cast<float*>(network->rows->table().store().mutable_ref()(0).codes) + i,
              of_rows[i], i, "row element");
  }
  CHECK(faults == 0);
  CHECK(compared > static_cast<int>(gradients.size() / stride) / 2);
}

}  // namespace

TEST_CASE("gradients of the whole model are its loss's differences") {
  for (const Index branches : {1, 3})
    for (const bool memory : {false, true}) {
      INFO(branches << " branches, memory " << memory);
      check_gradients(tiny(branches, memory), branches == 1 ? 1 : 3);
    }
  lm::ModelConfig longer = tiny(1, true);
  longer.context = 70;  // two tiles of attention and a part of one
  check_gradients(longer, 61);
}

TEST_CASE("gradients of a model with bigrams are its loss's differences") {
  for (const Index branches : {1, 3}) {
    INFO(branches << " branches");
    lm::ModelConfig config = tiny(branches, false);
    config.bigrams.emplace();
    config.bigrams->rows = 17;
    check_gradients(config, branches == 1 ? 1 : 3);
  }
}

TEST_CASE("bigrams are read by the last two tokens, and learn") {
  lm::ModelConfig config = tiny(1, false);
  config.bigrams.emplace();
  config.bigrams->rows = 200;
  auto model = lm::Model::make(config, identity_map(13)).value();
  const auto tokens = random_tokens(16 * 7, 13, 3);
  const View<const std::int32_t, 2> view(tokens.data(), 16, 7);
  lm::Network::Tape tape;
  REQUIRE(model.network().begin(tokens.data(), 16, tape).ok());
  for (std::size_t t = 1; t < tape.rows.size(); ++t)
    for (std::size_t u = 1; u < t; ++u)
      if (t % 6 > 0 && u % 6 > 0 && tape.inputs[t] == tape.inputs[u] &&
          tape.inputs[t - 1] == tape.inputs[u - 1])
        CHECK(tape.rows[t] == tape.rows[u]);
  CHECK(std::set<std::int32_t>(tape.rows.begin(), tape.rows.end()).size() > 30);
  const double silenced = lm::evaluate(model, view, 1, true).value();
  CHECK(lm::evaluate(model, view, 1).value() == silenced);  // rows are zero at first
  auto trainer = lm::Trainer::make(model, {.steps = 60, .peak_rate = 1e-2f, .threads = 1}).value();
  for (int i = 0; i < 60; ++i) (void)trainer.step(view).value();
  CHECK(lm::evaluate(model, view, 1).value() < lm::evaluate(model, view, 1, true).value() - 0.1);

  config.memory.emplace();
  CHECK(lm::Model::make(config, identity_map(13)).status().code == Code::invalid_config);
}

TEST_CASE("training gives the same bits for any number of threads and any addresses, and learns") {
  const lm::ModelConfig config = tiny(1, true);
  const auto run = [&](Index threads, std::size_t shift, double& last) {
    const std::vector<std::byte> in_front(shift);  // moves what is allocated behind it
    auto model = lm::Model::make(config, identity_map(config.vocab_size)).value();
    auto trainer =
        lm::Trainer::make(model, {.steps = 60, .peak_rate = 0.02f, .threads = threads}).value();
    for (std::uint64_t step = 0; step < 60; ++step) {
      // Each token is the sum of the two before it.
      std::vector<std::int32_t> tokens = random_tokens(20 * 7, 13, step);
      for (std::size_t i = 0; i < tokens.size(); ++i)
        if (i % 7 >= 2) tokens[i] = (tokens[i - 1] + tokens[i - 2]) % 13;
      last = trainer.step(View<const std::int32_t, 2>(tokens.data(), 20, 7)).value();
    }
    CHECK(trainer.steps_done() == 60);
    return model.network().weights;
  };
  double one = 0, other = 0;
  const auto first = run(1, 0, one);
  for (const std::size_t shift : {16u, 32u, 48u, 1000u}) {
    CHECK((run(2, shift, other) == first));
    CHECK(one == other);
  }
  CHECK(one < 2.2);  // from ln 13 = 2.56; the first position cannot be known
}

TEST_CASE("training that was stopped, saved and loaded goes on with the same bits") {
  const lm::ModelConfig config = tiny(1, true);
  const std::string path = scratch_path("lm_checkpoint.safetensors");
  const auto tokens = random_tokens(10 * 7, 13, 4);
  const View<const std::int32_t, 2> batch(tokens.data(), 10, 7);
  const lm::TrainOptions options{.steps = 8, .peak_rate = 0.01f};
  auto whole = lm::Model::make(config, identity_map(13)).value();
  auto trainer = lm::Trainer::make(whole, options).value();
  for (int step = 0; step < 8; ++step) {
    if (step == 3) trainer.save(path).value();
    (void)trainer.step(batch).value();
  }
  auto resumed = lm::Model::make(config, identity_map(13)).value();
  auto again = lm::Trainer::make(resumed, options).value();
  again.load(path).value();
  CHECK(again.steps_done() == 3);
  for (int step = 3; step < 8; ++step) (void)again.step(batch).value();
  CHECK(resumed.network().weights == whole.network().weights);
  const auto rows = [](lm::Model& model) {
    return model.network().rows->table().store().ref()(0).codes;
  };
  CHECK(std::memcmp(rows(resumed), rows(whole),
                    at(whole.network().rows->table().num_rows() * 3 * 4)) == 0);

  lm::ModelConfig other = config;
  other.memory->rows_per_head = {13, 17};
  auto unlike = lm::Model::make(other, identity_map(13)).value();
  const auto before = unlike.network().weights;
  auto refusing = lm::Trainer::make(unlike, options).value();
  CHECK(refusing.load(path).status().code == Code::mismatch);
  CHECK(refusing.load(path + ".absent").status().code == Code::io);
  CHECK(unlike.network().weights == before);
  CHECK(refusing.steps_done() == 0);
}

TEST_CASE("the demo's model costs what it says") {
  lm::ModelConfig without, with;
  with.experts = 36;
  with.shared_width = 100;
  with.memory.emplace();
  const auto map = identity_map(2048);
  const auto a = lm::Model::make(without, map).value().parameters();
  const auto b = lm::Model::make(with, map).value().parameters();
  CHECK(std::fabs(static_cast<double>(a.total) / static_cast<double>(b.total) - 1) < 0.01);
  CHECK(std::fabs(static_cast<double>(a.active) / static_cast<double>(b.active) - 1) < 0.01);
  with.memory->rows_per_head = {1, 1};
  const auto c = lm::Model::make(with, map).value();
  CHECK(c.network().rows->table().num_rows() == 4);
  CHECK(c.parameters().active == b.active);
}

TEST_CASE("evaluation watches losses, gates and norms, and knocks the memory out") {
  const lm::ModelConfig config = tiny(3, true);
  auto model = lm::Model::make(config, identity_map(13)).value();
  model.network().weights = moved_network(config)->weights;
  const auto tokens = random_tokens(19 * 7, 13, 9);
  const View<const std::int32_t, 2> view(tokens.data(), 19, 7);
  std::vector<float> losses(19 * 6), gates(losses), norms(losses);
  const lm::Watched watched{View<float, 2>(losses.data(), 19, 6),
                            View<float, 2>(gates.data(), 19, 6),
                            View<float, 2>(norms.data(), 19, 6)};
  const double loss = lm::evaluate(model, view, 2, false, watched).value();
  double sum = 0;
  for (const float x : losses) sum += double{x};
  CHECK(loss == Approx(sum / (19 * 6)));
  CHECK(loss == lm::evaluate(model, view, 1).value());
  CHECK(gates[5] > 0);
  CHECK(norms[5] == 0);  // its rows are zero
  CHECK(lm::evaluate(model, view, 1, true).value() == loss);

  CHECK(lm::evaluate(model, view, 0).status().code == Code::invalid_config);
  CHECK(lm::evaluate(model, View<const std::int32_t, 2>(tokens.data(), 22, 6), 1).status().code ==
        Code::shape_mismatch);
  lm::Watched narrow;
  narrow.gates = View<float, 2>(gates.data(), 19, 5);
  CHECK(lm::evaluate(model, view, 1, false, narrow).status().code == Code::shape_mismatch);
  auto outside = tokens;
  outside[100] = 13;
  CHECK(lm::evaluate(model, View<const std::int32_t, 2>(outside.data(), 19, 7), 2).status() ==
        Status{Code::bad_token, 0, 100});
}

TEST_CASE("evaluation watches hits: no token was more probable, nor as probable with a lower id") {
  lm::ModelConfig config = tiny(3, true);
  config.context = 20;  // 8 sequences are more than a tile of logits
  auto model = lm::Model::make(config, identity_map(13)).value();
  model.network().weights = moved_network(config)->weights;
  // The same inputs in each sequence; the last targets are all tokens once.
  const auto inputs = random_tokens(20, 13, 9);
  std::vector<std::int32_t> tokens;
  for (std::int32_t last = 0; last < 13; ++last) {
    tokens.insert(tokens.end(), inputs.begin(), inputs.end());
    tokens.push_back(last);
  }
  const View<const std::int32_t, 2> view(tokens.data(), 13, 21);
  std::vector<float> losses(13 * 20), hits(13 * 20, -1.0f);
  const auto hits_of_last = [&](Index threads) {
    lm::Watched watched;
    watched.losses = View<float, 2>(losses.data(), 13, 20);
    watched.hits = View<float, 2>(hits.data(), 13, 20);
    (void)lm::evaluate(model, view, threads, false, watched).value();
    std::vector<float> last;
    for (Index s = 0; s < 13; ++s) last.push_back(hits[at(s * 20 + 19)]);
    return last;
  };
  std::vector<float> expected(13);
  const auto found = hits_of_last(2);
  Index best = 0;
  for (Index s = 0; s < 13; ++s)
    if (losses[at(s * 20 + 19)] < losses[at(best * 20 + 19)]) best = s;
  expected[at(best)] = 1;
  CHECK(best != 0);
  CHECK(found == expected);
  CHECK(hits_of_last(1) == expected);
  for (const float hit : hits) CHECK((hit == 0 || hit == 1));

  model.network().weights.assign(model.network().weights.size(), 0.0f);  // all are as probable
  expected.assign(13, 0.0f);
  expected[0] = 1;
  CHECK(hits_of_last(1) == expected);

  lm::Watched narrow;
  narrow.hits = View<float, 2>(hits.data(), 13, 19);
  CHECK(lm::evaluate(model, view, 1, false, narrow).status().code == Code::shape_mismatch);
}

TEST_CASE("a memory can be frozen, shuffled and ungated") {
  lm::ModelConfig config = tiny(1, true);
  config.memory->gated = false;
  const auto tokens = random_tokens(4 * 7, 13, 3);
  const View<const std::int32_t, 2> view(tokens.data(), 4, 7);
  const auto table_of = [](const lm::Model& model) {
    const auto& table = model.network().rows->table();
    const auto* const first = reinterpret_cast<const float*>(table.store().ref()(0).codes);
    return std::vector<float>(first, first + table.num_rows() * table.row_width());
  };
  for (const bool frozen : {false, true}) {
    config.memory->frozen = frozen;
    auto model = lm::Model::make(config, identity_map(13)).value();
    auto trainer = lm::Trainer::make(model, {.steps = 1}).value();
    const auto before = table_of(model);
    (void)trainer.step(view).value();
    CHECK((table_of(model) == before) == frozen);
    CHECK((before == std::vector<float>(before.size())) == !frozen);
    std::vector<float> gates(4 * 6);
    (void)lm::evaluate(model, view, 1, false, {{}, View<float, 2>(gates.data(), 4, 6), {}}).value();
    CHECK(gates == std::vector<float>(4 * 6, 1.0f));
  }
  const auto rows_of = [&](bool shuffled) {
    config.memory->shuffled = shuffled;
    const auto network = lm::Network::make(config, identity_map(13)).value();
    lm::Network::Tape tape;
    REQUIRE(network->begin(tokens.data(), 4, tape).ok());
    std::vector<std::vector<std::int32_t>> rows;  // of each position
    for (auto at = tape.rows.begin(); at != tape.rows.end(); at += 4) rows.emplace_back(at, at + 4);
    return rows;
  };
  auto own = rows_of(false), others = rows_of(true);
  REQUIRE(own.size() == 24);
  int kept = 0;
  for (std::size_t t = 0; t < own.size(); ++t) kept += own[t] == others[t];
  CHECK(kept < 6);  // equal windows at two positions
  std::sort(own.begin(), own.end());
  std::sort(others.begin(), others.end());
  CHECK(own == others);
}

TEST_CASE("the model refuses what cannot work, and a step that is not finite moves nothing") {
  lm::ModelConfig config = tiny(1, true);
  const auto refused = [&](lm::ModelConfig wrong, const char* why) {
    const auto made = lm::Model::make(wrong, identity_map(13));
    REQUIRE_FALSE(made.ok());
    CHECK(contains(made.message(), why));
  };
  lm::ModelConfig wrong = config;
  wrong.heads = 3;
  refused(wrong, "a width of 8 in 3 heads");
  wrong = config;
  wrong.width = 260;
  refused(wrong, "at most 128");
  wrong = config;
  wrong.top_k = 5;
  refused(wrong, "5 of 4 experts");
  wrong = config;
  wrong.memory->block = 2;
  refused(wrong, "block 2 of 2");
  wrong = config;
  wrong.vocab_size = 14;
  refused(wrong, "a token map of 13");
  wrong = config;
  wrong.memory->rows_per_head = {Index{1} << 40, Index{1} << 40};
  CHECK(lm::Model::make(wrong, identity_map(13)).status().code == Code::out_of_memory);

  auto model = lm::Model::make(config, identity_map(13)).value();
  auto trainer = lm::Trainer::make(model, {.steps = 3}).value();
  auto tokens = random_tokens(4 * 7, 13, 1);
  const View<const std::int32_t, 2> view(tokens.data(), 4, 7);
  CHECK(trainer.step(view.slice(0, 0)).status().code == Code::shape_mismatch);
  tokens[9] = 13;
  CHECK(trainer.step(view).status() == Status{Code::bad_token, 0, 9});
  tokens[9] = 12;
  model.network().weights[20] = std::nanf("");
  const auto before = model.network().weights;
  const auto failed = trainer.step(view);
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.status().code == Code::not_finite);
  CHECK(contains(failed.message(), "training step 0: the loss is not finite; no weight has moved"));
  CHECK(std::memcmp(before.data(), model.network().weights.data(), before.size() * 4) == 0);
  CHECK(lm::Trainer::make(model, {.steps = 0}).status().code == Code::invalid_config);
  CHECK(lm::Trainer::make(model, {.peak_rate = std::nanf("")}).status().code ==
        Code::invalid_config);
  CHECK(lm::Trainer::make(model, {.clip = 0}).status().code == Code::invalid_config);
}

#endif
