// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Trains a model: AdamW for the dense weights, LazyAdam for the memory's rows, a rate that rises,
// then falls along a cosine.

#include "model.hpp"

namespace engram::lm {

struct TrainOptions {
  Index steps = 500;
  float peak_rate = 3e-3f;
  float last_rate = 0.1f;     ///< of the peak, at the end
  Index warmup = 20;          ///< steps until the peak
  float weight_decay = 0.1f;  ///< of the matrices
  float clip = 1;  ///< largest length of the dense weights' gradient; longer ones are shortened
  Index threads = 2;
};

class Trainer {
 public:
  /// The model must outlive the trainer. Fails with invalid_config.
  static Result<Trainer> make(Model& model, const TrainOptions& options);
  Trainer(Trainer&&) noexcept;
  Trainer& operator=(Trainer&&) noexcept;
  ~Trainer();

  /// One step on tokens [sequences, context + 1]; gives the mean loss in nats before it. The bits
  /// do not depend on the number of threads.
  ///
  /// Fails with shape_mismatch, bad_token, and with not_finite, which says step and what: the loss,
  /// a dense gradient or a row's; no weight has moved then.
  Result<double> step(View<const std::int32_t, 2> tokens);
  Index steps_done() const;

  /// Writes all that the next step depends on: weights, rows, what the optimizers remember, the
  /// experts' biases, the number of steps. Training that goes on from there gives the bits of
  /// training that was never stopped. Fails as save_checkpoint().
  Result<void> save(const std::string& path);
  /// Reads it back into a model of the same configuration. Fails as Checkpoint::open() and read():
  /// a checkpoint of another layout or shape, a damaged one; nothing has changed then.
  Result<void> load(const std::string& path);
  /// The rate of the next step's dense weights.
  float rate() const;

 private:
  struct State;
  explicit Trainer(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace engram::lm
