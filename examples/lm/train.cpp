// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "train.hpp"

#include "network.hpp"
#include "workers.hpp"

#include <engram/addressing/layout_bytes.hpp>
#include <engram/io/checkpoint.hpp>

#include <algorithm>
#include <cmath>

namespace engram::lm {
namespace {

constexpr Index part_sequences = 8;  // of a batch, that one thread takes; fixes the order of sums
constexpr Index range = 16384;       // weights that one thread moves at a time
constexpr float beta1 = 0.9f, beta2 = 0.95f, eps = 1e-8f;

}  // namespace

struct Trainer::State {
  State(Network& n, const TrainOptions& o)
      : network(n),
        options(o),
        workers(o.threads),
        first_moment(n.weights.size()),
        second_moment(n.weights.size()) {}

  Network& network;
  TrainOptions options;
  Workers workers;
  Floats first_moment, second_moment;
  std::vector<Network::Tape> tapes;        // one a part
  std::vector<Floats> gradients;           // [part][weight]
  std::vector<std::int32_t> tokens, rows;  // [sequences, context + 1], [T, H]
  std::vector<float> to_rows;              // [T, H E]
  Index done = 0;

  float rate() const {
    const auto step = static_cast<float>(done + 1);
    if (done < options.warmup) return options.peak_rate * step / static_cast<float>(options.warmup);
    const float progress =
        std::min(1.0f, static_cast<float>(done - options.warmup) /
                           static_cast<float>(std::max<Index>(1, options.steps - options.warmup)));
    return options.peak_rate * (options.last_rate + (1 - options.last_rate) * 0.5f *
                                                        (1 + std::cos(3.14159265f * progress)));
  }

  /// Forward and backward of all parts; the mean loss.
  Result<double> run_parts(Index sequences) {
    const ModelConfig& config = network.config();
    const Index parts = (sequences + part_sequences - 1) / part_sequences;
    const Index positions = sequences * config.context;
    const Index row_values = network.rows ? network.rows->columns() * network.rows->row_width() : 0;
    tapes.resize(static_cast<std::size_t>(parts));
    gradients.resize(static_cast<std::size_t>(parts));
    to_rows.resize(static_cast<std::size_t>(positions * row_values));
    std::vector<Status> statuses(static_cast<std::size_t>(parts));
    workers.run(parts, [&](Index part) {
      const Index first = part * part_sequences;
      const Index count = std::min(part_sequences, sequences - first);
      Network::Tape& tape = tapes[static_cast<std::size_t>(part)];
      Floats& to = gradients[static_cast<std::size_t>(part)];
      Status& status = statuses[static_cast<std::size_t>(part)];
      status = network.begin(tokens.data() + first * (config.context + 1), count, tape);
      if (!status.ok()) {
        status.index += first * (config.context + 1);
        return;
      }
      to.resize(network.weights.size());
      status = network.forward_backward(tape, 1 / static_cast<float>(positions), to.data(),
                                        to_rows.data() + first * config.context * row_values);
    });
    double loss = 0;
    for (std::size_t part = 0; part < tapes.size(); ++part) {
      if (!statuses[part].ok())
        return fail(statuses[part].code, describe(statuses[part], "training step"),
                    statuses[part].index);
      for (const float x : tapes[part].losses) loss += double{x};
    }
    return loss / static_cast<double>(positions);
  }

  /// Sums the parts' gradients into the first, in order; their length.
  double sum_gradients() {
    const auto size = static_cast<Index>(network.weights.size());
    const Index ranges = (size + range - 1) / range;
    std::vector<double> squares(static_cast<std::size_t>(ranges));
    workers.run(ranges, [&](Index r) {
      const Index begin = r * range, count = std::min(range, size - begin);
      Eigen::Map<Eigen::ArrayXf> sum(gradients[0].data() + begin, count);
      for (std::size_t part = 1; part < gradients.size(); ++part)
        sum += Eigen::Map<const Eigen::ArrayXf>(gradients[part].data() + begin, count);
      squares[static_cast<std::size_t>(r)] = double{sum.matrix().squaredNorm()};
    });
    double total = 0;
    for (const double s : squares) total += s;
    return std::sqrt(total);
  }

  /// AdamW on the dense weights.
  void move_weights(float rate_now, float scale) {
    const auto size = static_cast<Index>(network.weights.size());
    const auto n = static_cast<float>(done + 1);
    const float correct1 = 1 / (1 - std::pow(beta1, n)), correct2 = 1 / (1 - std::pow(beta2, n));
    workers.run((size + range - 1) / range, [&](Index r) {
      const Index begin = r * range, count = std::min(range, size - begin);
      using Array = Eigen::Map<Eigen::ArrayXf>;
      Array w(network.weights.data() + begin, count), m(first_moment.data() + begin, count),
          v(second_moment.data() + begin, count), g(gradients[0].data() + begin, count);
      const Array decay(decays.data() + begin, count);
      m = beta1 * m + (1 - beta1) * scale * g;
      v = beta2 * v + (1 - beta2) * (scale * g).square();
      w -= rate_now * (decay * w + m * correct1 / ((v * correct2).sqrt() + eps));
    });
  }

  Status move_rows(float rate_now, Index sequences) {
    if (!network.rows) return {};
    const Index positions = sequences * network.config().context;
    rows.clear();
    for (const Network::Tape& tape : tapes)
      rows.insert(rows.end(), tape.rows.begin(), tape.rows.end());
    const Index columns = network.rows->columns();
    return network.rows->update(
        View<const std::int32_t, 2>(rows.data(), positions, columns),
        View<const float, 2>(to_rows.data(), positions, columns * network.rows->row_width()),
        rate_now, done);
  }

  void balance_experts() {
    for (std::size_t b = 0; b < network.expert_biases.size(); ++b) {
      Vector& bias = network.expert_biases[b];
      std::vector<Index> taken(static_cast<std::size_t>(bias.size()));
      for (const Network::Tape& tape : tapes)
        for (const Index e : tape.blocks[b].experts.chosen) ++taken[static_cast<std::size_t>(e)];
      balance(bias, taken);
    }
  }

  /// What a checkpoint holds.
  std::vector<CheckpointTensor> tensors() {
    std::vector<CheckpointTensor> list = {
        checkpoint_tensor("weights", View<float, 1>(network.weights)),
        checkpoint_tensor("first_moment", View<float, 1>(first_moment)),
        checkpoint_tensor("second_moment", View<float, 1>(second_moment))};
    for (std::size_t b = 0; b < network.expert_biases.size(); ++b)
      list.push_back(checkpoint_tensor(
          sentence({"blocks.", b, ".expert_bias"}),
          View<float, 1>(network.expert_biases[b].data(), network.expert_biases[b].size())));
    if (!network.rows) return list;
    list.push_back(checkpoint_codes("table.rows", DType::f32, network.rows->table().store()));
    if (!network.rows->state().empty())
      list.push_back(checkpoint_tensor("table.state", View<float, 1>(network.rows->state())));
    return list;
  }
  std::string layout() const {
    return network.rows ? layout_digest(network.rows->layout()) : "none";
  }

  Floats decays;  // [weight] weight decay
};

Trainer::Trainer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer& Trainer::operator=(Trainer&&) noexcept = default;
Trainer::~Trainer() = default;

Result<Trainer> Trainer::make(Model& model, const TrainOptions& options) {
  if (options.steps < 1 || options.threads < 1 || options.warmup < 0)
    return fail(Code::invalid_config, {"trainer: ", options.steps, " steps, ", options.threads,
                                       " threads, ", options.warmup, " of them warming up"});
  if (!(options.peak_rate > 0 && options.last_rate >= 0 && options.weight_decay >= 0 &&
        options.clip > 0 && std::isfinite(options.peak_rate) && std::isfinite(options.last_rate) &&
        std::isfinite(options.weight_decay)))
    return fail(Code::invalid_config,
                {"trainer: rates and decay must be finite, peak rate and clip above 0"});
  auto state = std::make_unique<State>(model.network(), options);
  for (const bool decays : model.network().decays)
    state->decays.push_back(decays ? options.weight_decay : 0.0f);
  return Trainer(std::move(state));
}

Index Trainer::steps_done() const { return state_->done; }
float Trainer::rate() const { return state_->rate(); }

Result<double> Trainer::step(View<const std::int32_t, 2> tokens) {
  State& s = *state_;
  const Index stride = s.network.config().context + 1, sequences = tokens.extent(0);
  if (tokens.extent(1) != stride || sequences < 1)
    return fail(Code::shape_mismatch,
                {"training step: tokens [", sequences, ", ", tokens.extent(1),
                 "], expected [at least 1, ", stride, "]"},
                stride);
  s.tokens.clear();
  for (Index i = 0; i < sequences; ++i)
    s.tokens.insert(s.tokens.end(), &tokens(i, 0), &tokens(i, 0) + stride);
  Result<double> loss = s.run_parts(sequences);
  if (!loss.ok()) return loss;
  const double length = s.sum_gradients();
  if (!std::isfinite(loss.value()) || !std::isfinite(length))
    return fail(Code::not_finite,
                {"training step ", s.done, ": ",
                 std::isfinite(loss.value()) ? "a gradient of the dense weights" : "the loss",
                 " is not finite; no weight has moved"},
                s.done);
  const float rate_now = s.rate();
  if (const Status rows = s.move_rows(rate_now, sequences); !rows.ok())  // checks before it moves
    return fail(rows.code,
                {"training step ", s.done, ": ", describe(rows, "update of the rows"),
                 "; no weight has moved"},
                rows.index);
  const double shorten = length > double{s.options.clip} ? double{s.options.clip} / length : 1.0;
  s.move_weights(rate_now, static_cast<float>(shorten));
  s.balance_experts();
  ++s.done;
  return loss;
}

Result<void> Trainer::save(const std::string& path) {
  State& s = *state_;
  return save_checkpoint(
      path, {static_cast<std::uint64_t>(s.done), s.network.config().seed, s.layout(), {}},
      s.tensors());
}

Result<void> Trainer::load(const std::string& path) {
  State& s = *state_;
  Result<Checkpoint> saved = Checkpoint::open(path, s.layout());
  if (!saved.ok()) return saved.failure();
  if (Result<void> read = saved.value().read(s.tensors()); !read.ok()) return read;
  s.done = static_cast<Index>(saved.value().info().step);
  return {};
}

}  // namespace engram::lm
