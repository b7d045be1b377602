// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a table's file and the disk under it give, by every way that the library has to read rows,
// each beside the least that it could take: the disk's own limit, or a plain copy.

#include "backend.hpp"
#include "row_ids.hpp"

#include <functional>
#include <optional>

namespace engram::read_bench {

struct Options {
  std::vector<TableSegment> segments;  ///< files by path
  Index rows_per_token = 48;           ///< 1 to 32,768
  double seconds = 2;                  ///< for each part of the measurement, about
  IdKind ids = IdKind::zipf;
  std::function<void(const std::string&)> say;  ///< told what is being measured
};

/// One measured thing. What was not measured is empty.
struct Figure {
  std::string reader;                    ///< "direct, io_uring", "mapped", "memcpy loop"
  std::string state;                     ///< "cold", "warm", "warm to cold", "cold to warm"
  Index rows = 0;                        ///< of a batch
  Index batches = 0;                     ///< on the way at the same time
  Index depth = 0;                       ///< reads at the same time
  std::optional<double> per_second;      ///< of the section's unit, median of the rounds
  std::optional<double> p50_us, p99_us;  ///< microseconds of one read, batch or token
  std::optional<double> ratio;           ///< median of the rounds' ratios
  std::string to;                        ///< to which figure
  /// The first batch after a change, from 1 on, that takes no longer than 1.1 times what later ones
  /// take, and 2 us.
  std::optional<Index> settled_at;
  std::optional<double> saved;           ///< share of the fetch's time that overlap saves
  std::optional<ReadCounters> counters;  ///< of the reader, over this measurement
  std::string missing;                   ///< why it was not measured
};

/// Figures of one question.
struct Section {
  std::string name;      ///< "device", "cold", "faults", "token", "adaptive", "changes", "overlap",
                         ///< "warm"
  std::string unit;      ///< of per_second: "reads", "rows"
  std::string ratio_of;  ///< "rates": more is better; "times": less is
  std::vector<Figure> figures;
  std::string note;  ///< what to know of them; may be empty
};

/// How a carrier's direct store reads.
struct Placement {
  std::string carrier;
  std::string missing;
  DirectReport report;
};

struct Report {
  Index rows = 0, row_bytes = 0, scale_bytes = 0, bytes = 0;
  Index free_memory = 0;  ///< when it began; -1: not known
  double load = 0;        ///< of the machine by then, the mean of a minute
  std::vector<Placement> placements;
  Index compared_rows = 0;  ///< whose bytes were the same from every reader
  std::vector<Section> sections;
  std::vector<std::string> recommended;  ///< plain sentences
};

/// Measures. Takes some twelve times `seconds`, and longer for slow disks and large tables.
///
/// Fails as the stores; with corrupt when two readers give different bytes of a row.
Result<Report> measure(const Options& options);

/// What the figures advise; what measure() puts into the report.
std::vector<std::string> recommend(const Report& report, Index rows_per_token);

/// The figure of a section, or null.
const Figure* find_figure(const Report& report, std::string_view section, std::string_view reader,
                          std::string_view state, Index rows);

}  // namespace engram::read_bench
