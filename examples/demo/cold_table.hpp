// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The trained memory's rows read back from a disk: what an engine does whose table is larger than
// its memory, with the counters that say what it cost.

#include "lm/model.hpp"

#include <engram/storage/read_counters.hpp>

#include <string>

namespace engram::demo {

/// What reading the rows of a few tokens came to.
struct ColdTable {
  std::string left_out;      ///< why there is no file to read; empty: all below is so
  Index file_rows = 0;       ///< all rows of the table
  Index rows = 0;            ///< asked for, by tokens and heads
  Index different_rows = 0;  ///< among these
  ReadCounters counters;     ///< of the one batch
  double milliseconds = 0;   ///< from asking until all had arrived
  bool past_cache = false;   ///< else the file system has no such reads
};

/// Packs the rows into `path` and has the system drop the file from its memory.
///
/// Fails as PackedWriter.
Result<void> write_packed(const lm::HashedRows& rows, const std::string& path);

/// Reads the rows of the tokens from that file, in one batch, each page compared with its checksum,
/// and compares every value with the table in memory, bit for bit.
///
/// tokens  [context + 1], of which the last asks for nothing.
/// Fails with mismatch (index: the row) for another value, corrupt for a damaged page, and as
/// PackedRows and DirectStore.
Result<ColdTable> read_packed(const lm::HashedRows& rows, const std::string& path,
                              const std::vector<std::int32_t>& tokens);

/// Both, in a temporary folder that is removed again. Fails as read_packed(), but a system that
/// does not take the file or give it back is no failure: see left_out.
///
/// model  with a memory.
Result<ColdTable> read_cold(const lm::Model& model, const std::vector<std::int32_t>& tokens);

}  // namespace engram::demo
