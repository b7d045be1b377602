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

/// Sums over the positions of one group.
class Gains {
 public:
  void add(double gain, double one_row_gain) {
    window_.count += 1;
    window_.gain += gain;
    one_row_ += one_row_gain;
  }
  void end_window() {
    windows_.push_back(window_);
    window_ = {};
  }
  /// positions: of all groups.
  StratumFound found(double positions) const {
    Window sum;
    double draws = 0;  // windows with such positions: those within one are alike
    for (const Window& w : windows_) {
      sum.count += w.count;
      sum.gain += w.gain;
      draws += w.count > 0 ? 1 : 0;
    }
    if (draws == 0) return {};
    const double mean = sum.gain / sum.count;
    double squares = 0;
    for (const Window& w : windows_) squares += std::pow(w.gain - mean * w.count, 2);
    const double error =
        draws < 2 ? INFINITY : std::sqrt(squares * draws / (draws - 1)) / sum.count;
    return {sum.count / positions, mean, error, one_row_ / sum.count};
  }

 private:
  struct Window {
    double count = 0, gain = 0;
  };
  std::vector<Window> windows_;
  Window window_;
  double one_row_ = 0;
};

/// Gathers the positions of all windows in the groups that group_of(window, position) names.
template <class GroupOf>
std::vector<StratumFound> gather_gains(std::size_t groups, View<const std::int32_t, 2> windows,
                                       const std::vector<std::vector<float>>& losses,
                                       GroupOf group_of) {
  std::vector<Gains> gains(groups);
  const Index context = windows.extent(1) - 1;
  for (Index w = 0; w < windows.extent(0); ++w) {
    for (Index t = 0; t < context; ++t) {
      const auto i = at(w * context + t);
      gains[group_of(w, t)].add(double{losses[0][i]} - double{losses[1][i]},
                                double{losses[0][i]} - double{losses[2][i]});
    }
    for (Gains& g : gains) g.end_window();
  }
  std::vector<StratumFound> found;
  for (const Gains& g : gains) found.push_back(g.found(static_cast<double>(losses[0].size())));
  return found;
}

Result<std::vector<PassageToken>> read_passage(const std::vector<Contender>& contenders,
                                               const text::Corpus& corpus, const Passage& passage) {
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

Result<Passage> choose_passage(const text::Corpus& corpus, Index length) {
  for (const text::Document& d : corpus.held_out)
    if (static_cast<Index>(d.tokens.size()) >= length) {
      const auto begin =
          d.tokens.begin() + (static_cast<std::ptrdiff_t>(d.tokens.size()) - length) / 2;
      return Passage{d.name, {begin, begin + length}};
    }
  return fail(Code::invalid_config,
              {"no held-out document has ", length, " tokens: the text is too short"});
}

Result<Findings> look_into(std::vector<Contender>& contenders, const text::Corpus& corpus,
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
      if (unseen(w, t) != corpus.end)
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
                            in_training.value(),
                            nats + loss_at(c.curve, found.equal_seconds) - c.curve.back().loss});
    losses.push_back(std::move(all).value());
  }
  const Result<std::vector<float>> knocked_out =
      losses_of(contenders[1].model, unseen, threads, true);
  if (!knocked_out.ok()) return knocked_out.failure();
  found.knocked_out = mean_of(knocked_out.value());

  text::NgramCounts counts(corpus.map);
  for (Index w = 0; w < trained; ++w) counts.add({&windows(w, 0), at(context)});
  found.all = gather_gains(1, unseen, losses, [](Index, Index) { return std::size_t{0}; })[0];
  for (int order = 2; order <= 3; ++order)
    found.by_order[order - 2] =
        gather_gains(std::size(text::strata), unseen, losses, [&](Index w, Index t) {
          return counts.stratum({&unseen(w, 0), at(context)}, at(t), order);
        });

  Result<std::vector<PassageToken>> tokens = read_passage(contenders, corpus, passage);
  if (!tokens.ok()) return tokens.failure();
  found.passage_name = passage.name;
  found.passage = std::move(tokens).value();
  return found;
}

}  // namespace engram::demo
