// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "bench.hpp"

namespace engram::read_bench {

namespace {

std::string thousands(double value) {
  std::string grouped;
  const std::string digits = std::to_string(static_cast<Index>(value + 0.5));
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) grouped += ',';
    grouped += digits[i];
  }
  return grouped;
}

/// The placement whose direct store reads most.
const Placement* faster(const Report& report, double& rate) {
  const Placement* best = nullptr;
  for (const Placement& placement : report.placements) {
    const Figure* cold =
        find_figure(report, "cold", "direct, " + placement.carrier, "cold", long_batch);
    if (cold == nullptr || !cold->per_second) continue;
    // The ring comes first; threads must be clearly better.
    if (best == nullptr || *cold->per_second > 1.05 * rate) {
      best = &placement;
      rate = *cold->per_second;
    }
  }
  return best;
}

void recommend_batch(const Report& report, const Placement& placement, double rate, Index token,
                     std::vector<std::string>& to) {
  double alone = 0, together = 0;
  for (const Section& section : report.sections)
    for (const Figure& f : section.figures) {
      if (section.name != "cold" || f.reader != "direct, " + placement.carrier || f.rows != token ||
          !f.per_second)
        continue;
      (f.batches == 1 ? alone : together) = *f.per_second;
    }
  if (alone == 0) return;
  std::string text =
      sentence({"One batch of ", token, " rows at a time reaches ",
                static_cast<Index>(100 * alone / rate + 0.5), " % of the disk's rate"});
  if (together > 0)
    text += sentence({", four on the way ", static_cast<Index>(100 * together / rate + 0.5), " %"});
  const bool pays = alone < 0.8 * rate;
  to.push_back(text + (pays
                           ? "; ask for the rows of several tokens, or of all layers, in one batch."
                           : "; larger batches gain little."));
}

void recommend_store(const Report& report, std::vector<std::string>& to) {
  const bool fits = report.free_memory > report.bytes + report.bytes / 4;
  const Figure* warm = find_figure(report, "warm", "adaptive", "warm", 512);
  const Figure* cold = find_figure(report, "adaptive", "adaptive", "cold", 512);
  if (fits)
    to.push_back(
        "The table fits the memory that is free: AdaptiveStore reads it from the disk while it is "
        "cold and from memory once it is there; read the file once after a start. If no other "
        "program can push it out, MmapStore is as fast and simpler.");
  else
    to.push_back(
        "The table is larger than the memory that is free: DirectStore, with a CachedStore over "
        "it if rows repeat. AdaptiveStore is for tables of which a part stays in memory.");
  if (cold == nullptr || !cold->per_second) return;
  const double disk = 1e6 / *cold->per_second;
  if (warm == nullptr || !warm->per_second) {
    to.push_back(sentence({"A row from the disk takes ", decimal(disk),
                           " us in batches of 512; a copy from memory some 0.05 us: a cache of "
                           "rows pays when a few rows in a hundred repeat."}));
    return;
  }
  const double memory = 1e6 / *warm->per_second;
  const double factor = disk / memory;
  to.push_back(
      sentence({"A row from the disk takes ", decimal(disk),
                " us in batches of 512, one "
                "from memory ",
                decimal(memory), " us, ", thousands(factor), " times less: a cache of rows ",
                factor > 10 ? "pays as soon as a few rows in a hundred repeat while they "
                              "are in it."
                            : "has little to gain."}));
}

}  // namespace

std::vector<std::string> recommend(const Report& report, Index rows_per_token) {
  std::vector<std::string> to;
  recommend_store(report, to);
  double rate = 0;
  const Placement* best = faster(report, rate);
  if (best != nullptr) {
    to.push_back(sentence({"Reads by ", best->carrier, ": ", thousands(rate),
                           " pages of 4 KiB a second, at a depth of ", best->report.depth, "."}));
    if (best->report.direct_files < best->report.files)
      to.push_back(
          "The file system has no reads past its cache, so cold rows go through it and push out "
          "what else is there; another file system may be faster.");
    recommend_batch(report, *best, rate, rows_per_token, to);
  }
  for (const Placement& placement : report.placements)
    if (placement.missing == "not built")
      to.push_back(
          "This program was built without liburing; with it one thread can do the work "
          "of many.");
  const Figure* overlap = nullptr;
  if (best != nullptr)
    overlap = find_figure(report, "overlap", "direct, " + best->carrier, "asked for before",
                          rows_per_token);
  if (overlap != nullptr && overlap->saved)
    to.push_back(
        sentence({"Asking for a token's rows before a computation that takes as long as "
                  "the fetch hides ",
                  static_cast<Index>(100 * std::clamp(*overlap->saved, 0.0, 1.0) + 0.5),
                  " % of the fetch."}));
  return to;
}

}  // namespace engram::read_bench
