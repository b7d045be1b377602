// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a reader of rows has done since it was made: plain numbers, always counted, to be read
// between two calls by the thread that owns the reader. Subtract two snapshots for what lies
// between them.

#include <engram/core/ids.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Counters of one reader. All start at 0; a reader leaves at 0 what it has not.
struct ReadCounters {
  static constexpr int max_orders = 9;  ///< n-grams have at most 8 tokens

  Index batches = 0;         ///< submitted
  Index failed_batches = 0;  ///< that ended with another status than ok
  Index rows = 0;            ///< asked for
  Index unique_rows = 0;     ///< of these, after what occurs twice in a batch was taken out
  Index mapped_rows = 0;     ///< copied from a mapping, without a system call
  Index reads = 0;           ///< requests that went to the system
  Index pages = 0;           ///< of 4 KiB, that these requests touched
  Index bytes = 0;           ///< that they brought
  Index retries = 0;         ///< of requests that were cut short or interrupted
  Index checked_pages = 0;   ///< whose checksum was compared
  Index wrong_guesses = 0;   ///< rows expected in memory that were not, or the reverse
  Index wait_ns = 0;         ///< spent in wait(), nanoseconds
  Index most_in_flight = 0;  ///< requests at the same time, the highest so far
  /// Of a cache, by the order of the row's n-gram where it knows that, else all in [0].
  Index hits[max_orders] = {};
  Index misses[max_orders] = {};

  friend bool operator==(const ReadCounters&, const ReadCounters&) = default;
};

ENGRAM_END_NAMESPACE
