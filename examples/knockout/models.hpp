// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The models of the experiment, with a memory and without: how they are made, taught and measured.

#include "findings.hpp"
#include "lm/model.hpp"

#include <functional>

namespace engram::knockout {

constexpr Index step_sequences = 16;

/// Both have the same dense weights but for the memory's own. Fails with what lm::Model::make says.
Result<lm::Model> make_model(const Text& text, bool with_memory);

/// A model that has learned the text, each step from the sequences of a stream of its own, 0 to
/// steps - 1. after(step, loss) is called behind each step, counted from 1.
Result<lm::Model> train(const Text& text, bool with_memory, Index steps, Index threads,
                        const std::function<void(Index, double)>& after);

/// The model's accuracy on sequences of its text. silenced: its memory adds nothing.
Result<Accuracy> measure(const lm::Model& model, const Sequences& sequences, Index threads,
                         bool silenced);

}  // namespace engram::knockout
