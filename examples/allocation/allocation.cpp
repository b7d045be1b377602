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

Variant make_variant(Index vocab_size, Index budget, int share) {
  Variant variant{sentence({budget, " experts; ", share, " %"}), {}, true};
  lm::ModelConfig& config = variant.config;
  config.vocab_size = vocab_size;
  config.experts = budget;
  if (share == 100) return variant;
  config.shared_width = 100;  // narrower, for the memory's projection and the row values read
  const Index expert = 3 * config.width * config.expert_width * config.blocks;
  const Index sparse = (budget - config.top_k) * expert;
  const auto routed =
      static_cast<Index>(std::lround(static_cast<double>((budget - config.top_k) * share) / 100));
  config.experts = config.top_k + routed;
  lm::MemoryConfig& memory = config.memory.emplace();
  const Index heads = memory.heads * static_cast<Index>(memory.rows_per_head.size());
  const Index rows = (sparse - routed * expert) / memory.row_width / heads;
  memory.rows_per_head.assign(memory.rows_per_head.size(), rows);
  return variant;
}

struct Point {
  int share = 0;
  Variant variant;
  Estimate loss, difference;  ///< the latter from experts alone
};

/// Ours above the paper's, each with the losses' differences from experts alone.
std::string charts_of(const std::vector<std::vector<Point>>& curves) {
  constexpr const char* colors[] = {"#1c7ed6", "#2b8a3e", "#d9480f"};
  std::vector<chart::Line> ours, theirs;
  for (std::size_t b = 0; b < curves.size(); ++b) {
    chart::Line line{sentence({budgets[b], " experts"}), colors[b], {}, false, {}};
    for (const Point& p : curves[b]) {
      line.points.emplace_back(p.share, p.difference.mean);
      line.errors.push_back(p.share == 100 ? 0 : p.difference.error);
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
                       *y = "nats, against experts alone";
  return chart::svg_file({chart::line_chart(ours, x, y), chart::line_chart(theirs, x, y)});
}

void print_budget(Index budget, float rate, const std::vector<Point>& curve, Study& study) {
  std::printf("\n%lld experts, rate %g\n%8s %8s %9s %11s %8s %16s   %s\n",
              static_cast<long long>(budget), double{rate}, "share", "experts", "rows",
              "parameters", "active", "nats a token", "against experts alone");
  for (const Point& p : curve) {
    const Outcome& o = study.outcome({p.variant.name, rate, 1});
    const lm::ModelConfig& config = p.variant.config;
    std::printf("%6d %% %8lld %9lld %11lld %8lld  %6.3f +- %5.3f   ", p.share,
                static_cast<long long>(config.experts),
                static_cast<long long>(config.memory ? 4 * config.memory->rows_per_head[0] : 0),
                static_cast<long long>(o.total), static_cast<long long>(o.active), p.loss.mean,
                p.loss.error);
    if (p.share == 100)
      std::printf("\n");
    else
      std::printf("%+.3f +- %.3f%s\n", p.difference.mean, p.difference.error,
                  is_resolved(p.difference) ? "" : "  not resolved");
  }
  const Point& best =
      *std::min_element(curve.begin(), curve.end(),
                        [](const Point& a, const Point& b) { return a.loss.mean < b.loss.mean; });
  if (best.share == 100)
    std::printf("Experts alone are best.\n");
  else
    std::printf("Best with %d %% for experts%s.\n", best.share,
                is_resolved(best.difference) ? "" : ", but not resolved from experts alone");
}

Result<bool> allocate(Study& study, const volatile std::sig_atomic_t& stop) {
  std::vector<Variant> experts_only;
  for (const Index budget : budgets)
    experts_only.push_back(make_variant(study.vocab_size(), budget, 100));
  // The rate that suits the experts, so that none of what follows is owed to a better rate.
  const Result<std::vector<float>> rates = choose_rates(study, experts_only, stop);
  if (!rates.ok()) return rates.failure();
  if (rates.value().empty()) return false;

  std::vector<std::vector<Point>> curves(std::size(budgets));
  std::vector<Variant> variants;
  std::vector<Trial> trials;
  for (std::size_t b = 0; b < curves.size(); ++b)
    for (const int share : shares) {
      curves[b].push_back({share, make_variant(study.vocab_size(), budgets[b], share), {}, {}});
      variants.push_back(curves[b].back().variant);
    }
  for (Index seed = 1; seed <= study.options().seeds; ++seed)
    for (std::size_t b = 0; b < curves.size(); ++b)
      for (const Point& p : curves[b])
        trials.push_back({p.variant.name, rates.value()[b], static_cast<std::uint64_t>(seed)});
  Result<bool> run = study.run(variants, trials, stop);
  if (!run.ok() || !run.value()) return run;

  for (std::size_t b = 0; b < curves.size(); ++b) {
    const float rate = rates.value()[b];
    const std::vector<double> reference = study.losses(curves[b][0].variant.name, rate);
    for (Point& p : curves[b]) {
      const std::vector<double> losses = study.losses(p.variant.name, rate);
      p.loss = estimate(losses);
      p.difference = paired_difference(losses, reference);
    }
    print_budget(budgets[b], rate, curves[b], study);
  }
  const std::string& results = study.options().ledger;
  const std::string picture = std::filesystem::path(results).replace_extension(".svg").string();
  if (Result<void> written = write_file(picture, as_bytes(charts_of(curves))); !written.ok())
    return written.failure();
  std::printf(
      "\nMeans over %lld seeds and their standard errors; differences are of models of the same\n"
      "seed, and \"not resolved\" when below two standard errors. Active parameters are equal; "
      "the\n"
      "paper's models are a thousand times larger and saw a million times the text.\n"
      "Results: %s   Chart: %s\n",
      static_cast<long long>(study.options().seeds), results.c_str(), picture.c_str());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(
      {"allocation",
       "Splits a fixed number of parameters between experts and the rows of a memory "
       "in several ways, trains small language models, and compares them",
       "allocation.csv", 200, allocate},
      argc, argv);
}
