// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The disk's own limit: random pages by a loop that does nothing else, at several depths.

#include "bench.hpp"

namespace engram::read_bench {

Result<Section> measure_device(Bench& bench) {
  Section section{"device", "reads", "", {}, ""};
  Measured& by = bench.best();
  std::vector<Index> depths = {1, 8, 32, 64, 128};
  if (std::find(depths.begin(), depths.end(), by.depth) == depths.end())
    depths.insert(std::upper_bound(depths.begin(), depths.end(), by.depth), by.depth);
  std::vector<std::vector<double>> latencies(depths.size());
  std::vector<Contestant> contestants;
  const double slice = std::clamp(bench.options.seconds / 20, 0.01, 0.5);
  for (std::size_t d = 0; d < depths.size(); ++d)
    contestants.push_back([&, d]() -> Result<double> {
      const Result<RawRun> run = by.loop->sustain(bench.range, depths[d], slice);
      if (!run.ok()) return run.failure();
      const std::vector<double>& times = run.value().latencies;
      latencies[d].insert(latencies[d].end(), times.begin(), times.end());
      return run.value().seconds / static_cast<double>(std::max<Index>(1, run.value().reads));
    });
  if (!bench.range_file.is_direct()) {
    section.note = "through the system's cache: this file system has no reads past it";
    bench.files.forget();
  }
  const Result<Rounds> rounds = hold_rounds(contestants, bench.options.seconds);
  if (!rounds.ok()) return rounds.failure();
  for (std::size_t d = 0; d < depths.size(); ++d) {
    Figure figure;
    figure.reader = "plain loop, " + by.carrier.name;
    figure.state = "cold";
    figure.depth = depths[d];
    figure.per_second = 1 / rounds.value().middle(d);
    figure.p50_us = 1e6 * percentile(latencies[d], 0.5);
    figure.p99_us = 1e6 * percentile(std::move(latencies[d]), 0.99);
    section.figures.push_back(std::move(figure));
  }
  return section;
}

}  // namespace engram::read_bench
