// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Three models that are trained side by side, each step on the same tokens: one without memory, one
// with, and one whose memory has a single row a head, which can hold nothing about any n-gram.

#include "lm/train.hpp"
#include "text/corpus.hpp"

#include <csignal>
#include <functional>

namespace engram::demo {

/// A point of the held-out curve.
struct CurvePoint {
  Index step = 0;
  double seconds = 0;  ///< of this model's training until then
  double loss = 0;     ///< nats, on a fixed part of the held-out text
};

struct Contender {
  std::string name;
  lm::Model model;
  std::vector<double> losses;  ///< of each step, in training
  double seconds = 0;          ///< spent in training
  std::vector<CurvePoint> curve;
};

struct LockstepOptions {
  Index steps = 400;
  Index sequences = 16;  ///< a step
  Index threads = 2;
  float rate = 3e-3f;
};

/// The models in the order without, with, one row. Fails with what lm::Model::make says.
Result<std::vector<Contender>> make_contenders(std::int32_t vocab_size, const TokenMap& map);

/// Trains them on windows [at least steps * sequences, context + 1]; watches the first held-out
/// windows. Stops after the step during which `stop` is set. progress is called after each step
/// with its number.
Result<void> train_in_lockstep(std::vector<Contender>& contenders, const LockstepOptions& options,
                               View<const std::int32_t, 2> windows,
                               View<const std::int32_t, 2> held_out,
                               const volatile std::sig_atomic_t& stop,
                               const std::function<void(Index)>& progress);

/// The mean training loss of the last steps, for display.
double recent_loss(const Contender& contender);

}  // namespace engram::demo
