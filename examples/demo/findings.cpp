// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "findings.hpp"

#include <algorithm>
#include <cmath>

namespace engram::demo {
namespace {

constexpr Index most_windows = 400;  // of held-out text, so that the end does not take a minute

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Losses of every position, [windows, context].
Result<std::vector<float>> losses_of(const lm::Model& model, View<const std::int32_t, 2> windows,
                                     Index threads, bool knocked_out = false) {
  const Index context = windows.extent(1) - 1;
  std::vector<float> losses(at(windows.extent(0) * context));
  lm::Watched watched;
  watched.losses = View<float, 2>(losses.data(), windows.extent(0), context);
  const Result<double> mean = lm::evaluate(model, windows, threads, knocked_out, watched);
  if (!mean.ok()) return mean.failure();
  return losses;
}

double mean_of(const std::vector<float>& list) {
  double sum = 0;
  for (const float x : list) sum += double{x};
  return sum / static_cast<double>(list.size());
}

/// The curve's loss at a time, straight lines between its points.
double loss_at(const std::vector<CurvePoint>& curve, double seconds) {
  for (std::size_t i = 1; i < curve.size(); ++i)
    if (seconds <= curve[i].seconds) {
      const double part = std::max(
          0.0, (seconds - curve[i - 1].seconds) / (curve[i].seconds - curve[i - 1].seconds));
      return curve[i - 1].loss + part * (curve[i].loss - curve[i - 1].loss);
    }
  return curve.empty() ? 0 : curve.back().loss;
}

std::vector<StratumFound> group(const NgramCounts& counts, int order,
                                View<const std::int32_t, 2> windows,
                                const std::vector<float>& without, const std::vector<float>& with,
                                const std::vector<float>& one_row) {
  struct Sums {
    double count = 0, gain = 0, squares = 0, one_row = 0;
  };
  std::vector<Sums> sums(std::size(strata));
  const Index context = windows.extent(1) - 1;
  for (Index w = 0; w < windows.extent(0); ++w)
    for (Index t = 0; t < context; ++t) {
      Sums& s = sums[counts.stratum({&windows(w, 0), at(context)}, at(t), order)];
      const auto i = at(w * context + t);
      const double gain = double{without[i]} - double{with[i]};
      s.count += 1;
      s.gain += gain;
      s.squares += gain * gain;
      s.one_row += double{without[i]} - double{one_row[i]};
    }
  std::vector<StratumFound> found;
  for (const Sums& s : sums) {
    const double n = std::max(1.0, s.count), mean = s.gain / n;
    found.push_back({s.count / static_cast<double>(without.size()), mean,
                     std::sqrt(std::max(0.0, s.squares / n - mean * mean) / n), s.one_row / n});
  }
  return found;
}

Result<std::vector<PassageToken>> read_passage(const std::vector<Contender>& contenders,
                                               const Corpus& corpus, const Passage& passage) {
  const auto length = static_cast<Index>(passage.tokens.size());
  const View<const std::int32_t, 2> window(passage.tokens.data(), 1, length);
  std::vector<std::vector<float>> losses, gates, norms;
  for (const Contender& c : contenders) {
    losses.emplace_back(at(length - 1));
    gates.emplace_back(at(length - 1));
    norms.emplace_back(at(length - 1));
    const lm::Watched watched{View<float, 2>(losses.back().data(), 1, length - 1),
                              View<float, 2>(gates.back().data(), 1, length - 1),
                              View<float, 2>(norms.back().data(), 1, length - 1)};
    if (const Result<double> mean = lm::evaluate(c.model, window, 1, false, watched); !mean.ok())
      return mean.failure();
  }
  std::vector<PassageToken> tokens;
  for (std::size_t t = 0; t + 1 < passage.tokens.size(); ++t) {
    // The loss at t is that of the next token; the gate at t is that of the n-gram which ends
    // there.
    const float saved = t == 0 ? 0 : losses[0][t - 1] - losses[1][t - 1];
    tokens.push_back(
        {corpus.encoder.token(passage.tokens[t]), saved, gates[1][t], gates[2][t], norms[1][t]});
  }
  return tokens;
}

}  // namespace

Result<Passage> choose_passage(const Corpus& corpus, Index length) {
  for (const Document& d : corpus.held_out)
    if (static_cast<Index>(d.tokens.size()) >= length)
      return Passage{d.name, {d.tokens.begin(), d.tokens.begin() + length}};
  return fail(Code::invalid_config,
              {"no held-out document has ", length, " tokens: the text is too short"});
}

Result<Findings> look_into(std::vector<Contender>& contenders, const Corpus& corpus,
                           View<const std::int32_t, 2> windows, Index trained,
                           View<const std::int32_t, 2> held_out, const Passage& passage,
                           Index threads) {
  Findings found;
  const View<const std::int32_t, 2> unseen =
      held_out.slice(0, std::min(most_windows, held_out.extent(0)));
  const View<const std::int32_t, 2> seen = windows.slice(
      0, std::max<Index>(1, std::min({most_windows / 4, trained, windows.extent(0)})));
  const Index context = unseen.extent(1) - 1;
  found.tokens = unseen.extent(0) * context;
  double bytes = 0;
  for (Index w = 0; w < unseen.extent(0); ++w)
    for (Index t = 1; t <= context; ++t)
      bytes += static_cast<double>(corpus.encoder.token(unseen(w, t)).size());

  found.equal_seconds = contenders[0].seconds;
  for (const Contender& c : contenders)
    found.equal_seconds = std::min(found.equal_seconds, c.seconds);
  std::vector<std::vector<float>> losses;
  for (const Contender& c : contenders) {
    Result<std::vector<float>> all = losses_of(c.model, unseen, threads);
    if (!all.ok()) return all.failure();
    const Result<double> in_training = lm::evaluate(c.model, seen, threads);
    if (!in_training.ok()) return in_training.failure();
    const double nats = mean_of(all.value());
    found.models.push_back({nats, nats * static_cast<double>(found.tokens) / std::log(2.0) / bytes,
                            in_training.value(), loss_at(c.curve, found.equal_seconds)});
    losses.push_back(std::move(all).value());
  }
  const Result<std::vector<float>> knocked_out =
      losses_of(contenders[1].model, unseen, threads, true);
  if (!knocked_out.ok()) return knocked_out.failure();
  found.knocked_out = mean_of(knocked_out.value());

  NgramCounts counts(corpus.map);
  for (Index w = 0; w < trained; ++w) counts.add({&windows(w, 0), at(context)});
  for (int order = 2; order <= 3; ++order)
    found.by_order[order - 2] = group(counts, order, unseen, losses[0], losses[1], losses[2]);

  Result<std::vector<PassageToken>> tokens = read_passage(contenders, corpus, passage);
  if (!tokens.ok()) return tokens.failure();
  found.passage_name = passage.name;
  found.passage = std::move(tokens).value();
  return found;
}

}  // namespace engram::demo
