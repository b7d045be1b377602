// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "model.hpp"

#include "network.hpp"
#include "workers.hpp"

namespace engram::lm {

Model::Model(std::unique_ptr<Network> network) : network_(std::move(network)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

Result<Model> Model::make(const ModelConfig& config, const TokenMap& map) {
  if ((config.memory || config.bigrams) && map.vocab_size() != config.vocab_size)
    return fail(Code::mismatch, {"model: a vocabulary of ", config.vocab_size,
                                 " tokens, and a token map of ", map.vocab_size()});
  Result<std::unique_ptr<Network>> network = Network::make(config, map);
  if (!network.ok()) return network.failure();
  return Model(std::move(network).value());
}

const ModelConfig& Model::config() const { return network_->config(); }
ParameterCounts Model::parameters() const { return network_->parameters(); }
const HashedRows* Model::rows() const { return network_->rows ? &*network_->rows : nullptr; }

Result<double> evaluate(const Model& model, View<const std::int32_t, 2> tokens, Index threads,
                        bool knocked_out, const Watched& watched) {
  const Network& network = model.network();
  const ModelConfig& config = model.config();
  const Index context = config.context, sequences = tokens.extent(0);
  if (tokens.extent(1) != context + 1 || sequences < 1)
    return fail(Code::shape_mismatch,
                {"evaluate: tokens [", sequences, ", ", tokens.extent(1),
                 "], expected [at least 1, ", context + 1, "]"},
                context + 1);
  if (threads < 1) return fail(Code::invalid_config, {"evaluate: ", threads, " threads"});
  for (const View<float, 2>& to : {watched.losses, watched.gates, watched.norms, watched.hits})
    if (to.size() != 0 && (to.extent(0) != sequences || to.extent(1) != context))
      return fail(Code::shape_mismatch,
                  {"evaluate: what is watched has room for [", to.extent(0), ", ", to.extent(1),
                   "], expected [", sequences, ", ", context, "]"},
                  context);
  constexpr Index at_once = 8;
  const Index parts = (sequences + at_once - 1) / at_once;
  std::vector<Network::Tape> tapes(static_cast<std::size_t>(threads));
  std::vector<Status> statuses(static_cast<std::size_t>(parts));
  std::vector<double> sums(static_cast<std::size_t>(parts));
  const auto run_part = [&](Index part, Network::Tape& tape) -> Status {
    const Index first = part * at_once;
    const Index count = std::min(at_once, sequences - first);
    std::vector<std::int32_t> copy(static_cast<std::size_t>(count * (context + 1)));
    for (Index s = 0; s < count; ++s)
      std::copy_n(&tokens(first + s, 0), context + 1, copy.begin() + s * (context + 1));
    if (Status s = network.begin(copy.data(), count, tape); !s.ok()) {
      s.index += first * (context + 1);
      return s;
    }
    tape.memory.scale.assign(knocked_out ? tape.inputs.size() : 0, 0.0f);
    if (knocked_out) tape.bigrams.rows.setZero();
    tape.hits.resize(watched.hits.size() == 0 ? 0 : tape.inputs.size());
    if (Status s = network.forward(tape); !s.ok()) return s;
    const auto mean_of = [&](const std::vector<float>& list, Index t) {
      float sum = 0;
      for (Index g = 0; g < config.branches; ++g)
        sum += list[static_cast<std::size_t>(t * config.branches + g)];
      return sum / static_cast<float>(config.branches);
    };
    for (Index t = 0; t < count * context; ++t) {
      const Index s = first + t / context, place = t % context;
      const float loss = tape.losses[static_cast<std::size_t>(t)];
      sums[static_cast<std::size_t>(part)] += double{loss};
      if (watched.losses.size() != 0) watched.losses(s, place) = loss;
      if (watched.hits.size() != 0) watched.hits(s, place) = tape.hits[static_cast<std::size_t>(t)];
      if (!config.memory) continue;
      if (watched.gates.size() != 0) watched.gates(s, place) = mean_of(tape.memory.gates, t);
      if (watched.norms.size() != 0) watched.norms(s, place) = mean_of(tape.memory.norms, t);
    }
    return {};
  };
  Workers workers(threads);
  workers.run(threads, [&](Index thread) {
    for (Index part = thread; part < parts; part += threads)
      statuses[static_cast<std::size_t>(part)] =
          run_part(part, tapes[static_cast<std::size_t>(thread)]);
  });
  double sum = 0;
  for (std::size_t part = 0; part < sums.size(); ++part) {
    if (!statuses[part].ok())
      return fail(statuses[part].code, describe(statuses[part], "evaluate"), statuses[part].index);
    sum += sums[part];
  }
  return sum / static_cast<double>(sequences * context);
}

}  // namespace engram::lm
