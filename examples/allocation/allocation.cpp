// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Experts or rows? At a fixed number of parameters, all and active, the share of the sparse ones
// that experts get is varied, and the rest are rows of a memory: the experiment behind the U-shaped
// curve of the Engram paper (section 2.4 there), with small models.

#include "chart/chart.hpp"
#include "study/program.hpp"
#include "study/statistics.hpp"

#include <engram/io/file.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <tuple>

namespace {

using namespace engram;
using namespace engram::study;

/// Budgets, each named by its experts a block when experts get all of it.
constexpr Index budgets[] = {24, 48, 96};
constexpr int shares[] = {100, 90, 80, 70, 55, 40};  // per cent of the sparse parameters

/// Share of the experts and validation loss, read off the paper's figure.
const std::vector<std::pair<double, double>> paper_6e20 = {
    {40, 1.7247}, {50, 1.7196}, {60, 1.7136}, {70, 1.7122}, {75, 1.7126},
    {80, 1.7109}, {85, 1.7095}, {90, 1.7125}, {95, 1.7130}, {100, 1.7248}};
const std::vector<std::pair<double, double>> paper_2e20 = {
    {40, 1.8275}, {50, 1.8227}, {60, 1.8190}, {70, 1.8172}, {75, 1.8177},
    {80, 1.8170}, {85, 1.8155}, {90, 1.8172}, {95, 1.8201}, {100, 1.8292}};

struct Point {
  Variant variant;
  double share = 0;           ///< what experts have got, which come whole, in per cent
  Estimate loss, difference;  ///< the latter from experts alone
};

Point make_point(Index vocab_size, Index budget, int share) {
  Point point{{sentence({budget, " experts; ", share, " %"}), {}, true}, 100, {}, {}};
  lm::ModelConfig& config = point.variant.config;
  config.vocab_size = vocab_size;
  config.experts = budget;
  if (share == 100) return point;
  const Index expert = 3 * config.width * config.expert_width * config.blocks;
  const Index sparse = (budget - config.top_k) * expert;
  const auto routed =
      static_cast<Index>(std::lround(static_cast<double>((budget - config.top_k) * share) / 100));
  config.experts = config.top_k + routed;
  point.share = 100 * static_cast<double>(routed) / static_cast<double>(budget - config.top_k);
  // Narrower for the memory's projection and the row values read, wider for the routers' weights.
  config.shared_width = 100 + (budget - config.experts) / 3;
  lm::MemoryConfig& memory = config.memory.emplace();
  const Index heads = memory.heads * static_cast<Index>(memory.rows_per_head.size());
  const Index rows = (sparse - routed * expert) / memory.row_width / heads;
  memory.rows_per_head.assign(memory.rows_per_head.size(), rows);
  return point;
}

std::string per_cent(double share) { return chart::number(share, 0) + " %"; }

/// Ours above the paper's, each with the losses' differences from experts alone.
std::string charts_of(const std::vector<std::vector<Point>>& curves) {
  constexpr const char* colors[] = {"#1c7ed6", "#2b8a3e", "#d9480f"};
  std::vector<chart::Line> ours, theirs;
  for (std::size_t b = 0; b < curves.size(); ++b) {
    chart::Line line{sentence({budgets[b], " experts"}), colors[b], {}, false, {}};
    for (const Point& p : curves[b]) {
      line.points.emplace_back(p.share, p.difference.mean);
      line.errors.push_back(std::isfinite(p.difference.error) ? p.difference.error : 0);
    }
    ours.push_back(std::move(line));
  }
  for (const auto& [name, color, curve] :
       {std::tuple{"paper, 2e20 FLOPs", colors[0], &paper_2e20},
        std::tuple{"paper, 6e20 FLOPs", colors[1], &paper_6e20}}) {
    chart::Line line{name, color, *curve, false, {}};
    for (auto& [share, loss] : line.points) loss -= curve->back().second;
    theirs.push_back(std::move(line));
  }
  constexpr const char *x = "per cent of the sparse parameters that experts have",
                       *with_bars = "nats, against experts alone; bars: standard error",
                       *without = "nats, against experts alone";
  return chart::svg_file(
      {chart::line_chart(ours, x, with_bars), chart::line_chart(theirs, x, without)});
}

void print_budget(Index budget, float rate, const std::vector<Point>& curve, const Study& study) {
  std::printf(
      "\n%lld experts; rate %g%s, the best for experts alone\n%8s %8s %9s %11s %8s %16s   %s\n",
      static_cast<long long>(budget), double{rate},
      is_outermost(rate) ? " (an outermost one; a better may lie beyond)" : "", "share", "experts",
      "rows", "parameters", "active", "nats a token", "against experts alone");
  for (const Point& p : curve) {
    const Outcome& o = study.outcome(study.reported(p.variant.name, rate)[0]);
    const lm::ModelConfig& config = p.variant.config;
    const Index rows = config.memory ? config.memory->heads * config.memory->rows_per_head[0] *
                                           static_cast<Index>(config.memory->rows_per_head.size())
                                     : 0;
    std::printf("%8s %8lld %9lld %11lld %8lld  %6.3f +- %5.3f   ", per_cent(p.share).c_str(),
                static_cast<long long>(config.experts), static_cast<long long>(rows),
                static_cast<long long>(o.total), static_cast<long long>(o.active), p.loss.mean,
                p.loss.error);
    if (!config.memory)
      std::printf("\n");
    else
      std::printf("%+.3f +- %.3f%s\n", p.difference.mean, p.difference.error,
                  is_resolved(p.difference) ? "" : "  not resolved");
  }
  const Point& best =
      *std::min_element(curve.begin(), curve.end(),
                        [](const Point& a, const Point& b) { return a.loss.mean < b.loss.mean; });
  std::string equals;
  for (const Point& p : curve)
    if (&p != &best && !is_resolved(paired_difference(study.losses(p.variant.name, rate),
                                                      study.losses(best.variant.name, rate))))
      equals += (equals.empty() ? "" : ", ") + per_cent(p.share);
  std::printf("Best: %s for experts%s%s.\n", per_cent(best.share).c_str(),
              equals.empty() ? "" : "; not resolved from ", equals.c_str());
}

Result<bool> allocate(Study& study, const std::atomic<bool>& stop) {
  const std::string& results = study.options().ledger;
  const std::string picture = std::filesystem::path(results).replace_extension(".svg").string();
  if (picture == results)
    return fail(Code::invalid_config,
                {results, ": the chart gets this name; give the results another"});
  std::vector<std::vector<Point>> curves(std::size(budgets));
  std::vector<Variant> variants, experts_alone;
  for (std::size_t b = 0; b < curves.size(); ++b)
    for (const int share : shares) {
      curves[b].push_back(make_point(study.vocab_size(), budgets[b], share));
      variants.push_back(curves[b].back().variant);
      if (share == 100) experts_alone.push_back(variants.back());
    }
  // The rate that suits the experts, so that none of what follows is owed to a better rate.
  const Result<std::vector<float>> rates = choose_rates(study, experts_alone, stop);
  if (!rates.ok()) return rates.failure();
  if (rates.value().empty()) return false;

  std::vector<Trial> trials;
  for (std::size_t b = 0; b < curves.size(); ++b)
    for (const Point& p : curves[b])
      for (Trial& trial : study.reported(p.variant.name, rates.value()[b]))
        trials.push_back(std::move(trial));
  Result<bool> run = study.run(variants, trials, stop);
  if (!run.ok() || !run.value()) return run;

  for (std::size_t b = 0; b < curves.size(); ++b) {
    const float rate = rates.value()[b];
    const std::vector<double> alone = study.losses(experts_alone[b].name, rate);
    for (Point& p : curves[b]) {
      const std::vector<double> losses = study.losses(p.variant.name, rate);
      p.loss = estimate(losses);
      p.difference = paired_difference(losses, alone);
    }
    print_budget(budgets[b], rate, curves[b], study);
  }
  if (Result<void> written = write_file(picture, as_bytes(charts_of(curves))); !written.ok())
    return written.failure();
  std::printf(
      "\nMeans of %lld seeds and their standard errors; differences are of models of the same "
      "seed,\n"
      "and not resolved below two standard errors. Active parameters are the same throughout, so\n"
      "the larger budgets are sparser; the paper's are all ten times the active ones, a thousand\n"
      "times as large as these, and saw more than a hundred thousand times the text.\n"
      "Results: %s   Chart, ours above the paper's: %s\n",
      static_cast<long long>(study.options().seeds), results.c_str(), picture.c_str());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(
      {"allocation", "allocation 1",
       "Splits a fixed number of parameters between experts and the rows of a memory "
       "in several ways, trains small language models, and compares them",
       "allocation.csv", 200, allocate},
      argc, argv);
}
