// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the three models have learned, on text that none of them was trained on.

#include "lockstep.hpp"
#include "text/ngram_counts.hpp"

namespace engram::demo {

/// One model on all held-out windows.
struct HeldOut {
  double nats = 0;           ///< mean loss a token
  double bits_per_byte = 0;  ///< the same text, whatever the tokens
  double train_nats = 0;     ///< on as many windows that it was trained on
  double at_equal_time = 0;  ///< nats when the fastest model was done, by the curve
};

/// Positions whose n-gram occurred about equally often in training.
struct StratumFound {
  double share = 0;  ///< of all positions
  double gain = 0;   ///< nats saved by the memory: loss without less loss with
  double error = 0;  ///< standard error of the gain, windows taken as independent
  double one_row_gain = 0;
};

/// A token of the passage.
struct PassageToken {
  std::string text;
  float saved = 0;         ///< nats: loss without less loss with memory
  float gate = 0;          ///< of the memory
  float one_row_gate = 0;  ///< of the control's
  float norm = 0;          ///< length of what the memory added
};

struct Findings {
  Index tokens = 0;  ///< held-out tokens that were predicted
  double equal_seconds = 0;
  std::vector<HeldOut> models;            ///< in the order of the contenders
  double knocked_out = 0;                 ///< nats of the model with memory, its memory silenced
  StratumFound all;                       ///< every position
  std::vector<StratumFound> by_order[2];  ///< of orders 2 and 3, in the order of `text::strata`
  std::string passage_name;
  std::vector<PassageToken> passage;
};

/// The part of the held-out text that is shown token by token, chosen before training: the
/// middle of the first held-out document that is long enough.
struct Passage {
  std::string name;
  std::vector<std::int32_t> tokens;  ///< [context + 1]
};
Result<Passage> choose_passage(const text::Corpus& corpus, Index length);

/// windows: as trained on, of which `trained` were; held_out [windows, context + 1].
Result<Findings> look_into(std::vector<Contender>& contenders, const text::Corpus& corpus,
                           View<const std::int32_t, 2> windows, Index trained,
                           View<const std::int32_t, 2> held_out, const Passage& passage,
                           Index threads);

}  // namespace engram::demo
