// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "lockstep.hpp"

#include "program/stopwatch.hpp"

#include <algorithm>
#include <numeric>

namespace engram::demo {
namespace {

constexpr Index watched_windows = 48;  // for the curve
constexpr Index curve_points = 16;

}  // namespace

Result<std::vector<Contender>> make_contenders(std::int32_t vocab_size, const TokenMap& map) {
  lm::ModelConfig without;
  without.vocab_size = vocab_size;
  // The memory's rows replace a quarter of the experts, its projection a part of the shared one.
  lm::ModelConfig with = without;
  with.experts = 36;
  with.shared_width = 100;
  with.memory.emplace();
  lm::ModelConfig one_row = with;
  one_row.memory->rows_per_head = {1, 1};

  std::vector<Contender> contenders;
  for (const auto& [name, config] :
       {std::pair{"without memory", without}, std::pair{"with memory", with},
        std::pair{"one row a head", one_row}}) {
    Result<lm::Model> model = lm::Model::make(config, map);
    if (!model.ok()) return model.failure();
    contenders.push_back({name, std::move(model).value(), {}, 0, {}});
  }
  return contenders;
}

Result<void> train_in_lockstep(std::vector<Contender>& contenders, const LockstepOptions& options,
                               View<const std::int32_t, 2> windows,
                               View<const std::int32_t, 2> held_out,
                               const volatile std::sig_atomic_t& stop,
                               const std::function<void(Index)>& progress) {
  std::vector<lm::Trainer> trainers;
  for (Contender& c : contenders) {
    Result<lm::Trainer> trainer = lm::Trainer::make(
        c.model, {.steps = options.steps, .peak_rate = options.rate, .threads = options.threads});
    if (!trainer.ok()) return trainer.failure();
    trainers.push_back(std::move(trainer).value());
  }
  const View<const std::int32_t, 2> watched =
      held_out.slice(0, std::min(watched_windows, held_out.extent(0)));
  const auto is_point = [&](Index step) {
    const Index every = std::max<Index>(1, options.steps / curve_points);
    return step % every == 0 || step == 10;
  };
  bool last = false;
  for (Index step = 1; !last; ++step) {
    const View<const std::int32_t, 2> batch =
        windows.slice((step - 1) * options.sequences, options.sequences);
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const program::Stopwatch watch;
      const Result<double> loss = trainers[i].step(batch);
      if (!loss.ok()) return fail(loss.status().code, {contenders[i].name, ": ", loss.message()});
      contenders[i].seconds += watch.seconds();
      contenders[i].losses.push_back(loss.value());
    }
    last = step == options.steps || stop != 0;
    if (last || is_point(step))
      for (Contender& c : contenders) {
        const Result<double> loss = lm::evaluate(c.model, watched, options.threads);
        if (!loss.ok()) return loss.failure();
        c.curve.push_back({step, c.seconds, loss.value()});
      }
    progress(step);
  }
  return {};
}

double recent_loss(const Contender& contender) {
  const std::size_t count = std::min<std::size_t>(20, contender.losses.size());
  return std::accumulate(contender.losses.end() - static_cast<std::ptrdiff_t>(count),
                         contender.losses.end(), 0.0) /
         static_cast<double>(std::max<std::size_t>(1, count));
}

}  // namespace engram::demo
