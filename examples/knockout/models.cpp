// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "models.hpp"

#include "lm/train.hpp"

#include <numeric>

namespace engram::knockout {
namespace {

View<const std::int32_t, 2> tokens_of(const Sequences& sequences, Index context) {
  return View<const std::int32_t, 2>(
      sequences.tokens.data(), static_cast<Index>(sequences.kinds.size()) / context, context + 1);
}

}  // namespace

Result<lm::Model> make_model(const Text& text, bool with_memory) {
  lm::ModelConfig config;
  config.vocab_size = text.vocab_size();
  config.width = 128;
  config.blocks = 2;
  config.context = text.config().context;
  config.experts = 2;
  config.top_k = 1;
  config.expert_width = config.shared_width = 32;
  config.seed = text.config().seed;
  if (with_memory) config.memory.emplace().row_rate = 10;
  std::vector<std::int32_t> ids(static_cast<std::size_t>(text.vocab_size()));
  std::iota(ids.begin(), ids.end(), 0);
  const Result<TokenMap> map = TokenMap::make(ids);
  if (!map.ok()) return map.failure();
  return lm::Model::make(config, map.value());
}

Result<lm::Model> train(const Text& text, bool with_memory, Index steps, Index threads,
                        const std::function<void(Index, double)>& after) {
  Result<lm::Model> model = make_model(text, with_memory);
  if (!model.ok()) return model;
  // With less decay the heads that copy form late, and not with every seed.
  Result<lm::Trainer> trainer = lm::Trainer::make(
      model.value(), {.steps = steps, .peak_rate = 2e-3f, .weight_decay = 1, .threads = threads});
  if (!trainer.ok()) return trainer.failure();
  for (Index step = 0; step < steps; ++step) {
    const Sequences drawn = text.draw(step_sequences, static_cast<std::uint64_t>(step));
    const Result<double> loss = trainer.value().step(tokens_of(drawn, text.config().context));
    if (!loss.ok()) return loss.failure();
    after(step + 1, loss.value());
  }
  return model;
}

Result<Accuracy> measure(const lm::Model& model, const Sequences& sequences, Index threads,
                         bool silenced) {
  const View<const std::int32_t, 2> tokens = tokens_of(sequences, model.config().context);
  std::vector<float> hits(sequences.kinds.size());
  lm::Watched watched;
  watched.hits = View<float, 2>(hits.data(), tokens.extent(0), model.config().context);
  const Result<double> loss = lm::evaluate(model, tokens, threads, silenced, watched);
  if (!loss.ok()) return loss.failure();
  return accuracy(sequences, hits);
}

}  // namespace engram::knockout
