// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The simulator against models that are too simple to be wrong, over random reads.

#if __has_include("simulate/simulate.hpp")

#include "simulate/simulate.hpp"

#include "simulate/caches.hpp"
#include "simulate/report.hpp"

#include <algorithm>
#include <catch.hpp>
#include <contains.hpp>
#include <engram/addressing/hash_rows.hpp>
#include <engram/addressing/make_layout.hpp>
#include <engram/io/row_trace_writer.hpp>
#include <engram/ngram/suffix.hpp>
#include <engram/tokenizer/identity.hpp>
#include <list>
#include <map>
#include <random.hpp>
#include <scratch.hpp>
#include <set>

using namespace engram;
using namespace engram::simulate;

namespace {

/// Reads of rows that follow Zipf's law, of three orders, a few a token.
Reads random_reads(std::uint64_t seed, Index tokens, Index rows) {
  Random random(seed);
  Reads reads;
  reads.tokens = tokens;
  reads.max_ngram_size = 4;
  reads.heads = 1;
  reads.layers = {{3, 10 * rows}};
  reads.layout_digest = std::string(64, 'c');
  RowNumbers numbers;
  for (Index t = 0; t < tokens; ++t) {
    std::set<Index> of_token;
    for (Index left = random.below(4); left > 0; --left) of_token.insert(7 * random.zipf(rows));
    for (const Index row : of_token) {
      const std::uint32_t number = numbers(row);
      if (number == reads.order_of.size())
        reads.order_of.push_back(static_cast<std::uint8_t>(2 + row % 3));
      reads.rows.push_back(number);
    }
    reads.reads_of.push_back(static_cast<std::uint32_t>(of_token.size()));
  }
  reads.row_of = std::move(numbers).take();
  return reads;
}

/// A cache as a list, the next victim in front; `again` holds who has a second chance.
struct ListCache {
  Policy policy;
  std::size_t capacity;
  std::list<std::uint32_t> rows;
  std::set<std::uint32_t> again;

  bool read(std::uint32_t row) {
    const auto at = std::find(rows.begin(), rows.end(), row);
    if (at != rows.end()) {
      if (policy == Policy::lru) rows.splice(rows.end(), rows, at);
      if (policy == Policy::clock) again.insert(row);
      return true;
    }
    if (rows.size() == capacity) {
      while (again.count(rows.front()) != 0) {
        again.erase(rows.front());
        rows.splice(rows.end(), rows, rows.begin());
      }
      rows.pop_front();
    }
    rows.push_back(row);
    return false;
  }
};

/// The same counts by asking `read` for every read whose order may enter.
template <class Read>
Hits naive_hits(const Reads& reads, Orders orders, Read read) {
  Hits hits;
  std::size_t i = 0;
  for (Index t = 0; t < reads.tokens; ++t)
    for (std::uint32_t n = 0; n < reads.reads_of[static_cast<std::size_t>(t)]; ++n, ++i) {
      const std::uint32_t row = reads.rows[i];
      const std::size_t order = reads.order_of[row];
      const bool late = t >= reads.tokens / 2;
      const bool hit = (orders >> order & 1) != 0 && read(row, late);
      ++hits.reads[order];
      hits.hits[order] += hit;
      hits.late_reads[order] += late;
      hits.late_hits[order] += late && hit;
    }
  return hits;
}

bool equal(const Hits& a, const Hits& b) {
  return a.reads == b.reads && a.hits == b.hits && a.late_reads == b.late_reads &&
         a.late_hits == b.late_hits;
}

constexpr Orders some_orders[] = {all_orders, Orders{1} << 2, Orders{1} << 2 | Orders{1} << 4};

}  // namespace

TEST_CASE("simulate: lru and fifo and clock hit what a list hits") {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const Reads reads = random_reads(seed, 3000, 400);
    for (const Policy policy : {Policy::lru, Policy::fifo, Policy::clock})
      for (const std::size_t capacity : {16u, 17u, 100u, 250u, 1000u})
        for (const Orders orders : some_orders) {
          INFO(seed << " " << to_string(policy) << " " << capacity << " " << orders);
          ListCache list{policy, capacity, {}, {}};
          CHECK(equal(
              replay(reads, policy, capacity, orders),
              naive_hits(reads, orders, [&](std::uint32_t row, bool) { return list.read(row); })));
        }
  }
}

TEST_CASE("simulate: sets are clocks of sixteen rows") {
  const Reads reads = random_reads(3, 6000, 900);
  for (const std::size_t capacity : {16u, 31u, 32u, 400u}) {
    const Sets sets(capacity, reads.row_of.size());
    std::map<std::size_t, ListCache> lists;
    CHECK(equal(replay(reads, Policy::set16, capacity, all_orders),
                naive_hits(reads, all_orders, [&](std::uint32_t row, bool) {
                  const std::size_t set = sets.set_of(row);
                  return lists.try_emplace(set, ListCache{Policy::clock, 16, {}, {}})
                      .first->second.read(row);
                })));
    CHECK(lists.size() == capacity / 16);
  }
}

TEST_CASE("simulate: pinned rows are the most frequent of the first half") {
  for (const Orders orders : some_orders) {
    const Reads reads = random_reads(5, 3000, 400);
    std::map<std::uint32_t, Index> counts;
    naive_hits(reads, orders, [&](std::uint32_t row, bool late) {
      counts[row] += !late;
      return false;
    });
    std::vector<std::pair<Index, std::uint32_t>> sorted;  // -count, number
    for (const auto& [row, count] : counts)
      if (count > 0) sorted.emplace_back(-count, row);
    std::sort(sorted.begin(), sorted.end());
    std::set<std::uint32_t> pinned;
    for (std::size_t i = 0; i < 50; ++i) pinned.insert(sorted[i].second);
    CHECK(equal(replay(reads, Policy::pinned, 50, orders),
                naive_hits(reads, orders, [&](std::uint32_t row, bool late) {
                  return late && pinned.count(row) != 0;
                })));
  }
}

TEST_CASE("simulate: min evicts what comes again last, and no cache hits more") {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    const Reads reads = random_reads(seed, 1500, 300);
    for (const std::size_t capacity : {16u, 40u, 300u})
      for (const Orders orders : some_orders) {
        std::set<std::uint32_t> held;
        std::size_t i = 0;
        const auto next = [&](std::uint32_t row) {
          return std::find(reads.rows.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                           reads.rows.end(), row);
        };
        const Hits expected = naive_hits(reads, orders, [&](std::uint32_t row, bool) {
          while (reads.rows[i] != row) ++i;  // reads of orders that may not enter
          const bool hit = held.count(row) != 0;
          held.insert(row);
          if (held.size() > capacity)
            held.erase(*std::max_element(held.begin(), held.end(),
                                         [&](auto a, auto b) { return next(a) < next(b); }));
          ++i;
          return hit;
        });
        const Hits min = replay(reads, Policy::min, capacity, orders);
        CHECK(equal(min, expected));
        for (const Policy policy : {Policy::lru, Policy::fifo, Policy::clock, Policy::set16})
          CHECK(sum(replay(reads, policy, capacity, orders).hits) <= sum(min.hits));
      }
  }
}

TEST_CASE("simulate: unique rows of chunks, and rows that come again") {
  const Reads reads = random_reads(8, 1000, 200);
  std::vector<std::vector<std::uint32_t>> tokens;
  std::size_t i = 0;
  for (const std::uint32_t count : reads.reads_of) {
    tokens.emplace_back(reads.rows.begin() + static_cast<std::ptrdiff_t>(i),
                        reads.rows.begin() + static_cast<std::ptrdiff_t>(i + count));
    i += count;
  }
  const std::vector<Index> lengths = {1, 2, 7, 300, 1000, 1001};
  const std::vector<ChunkUse> uses = chunk_use(reads, lengths);
  REQUIRE(uses.size() == lengths.size());
  for (const ChunkUse& use : uses) {
    INFO(use.tokens);
    ChunkUse expected{use.tokens, 1000 / use.tokens, {}, {}, {}};
    for (Index c = 0; c < expected.chunks; ++c) {
      std::set<std::uint32_t> seen;
      for (Index t = c * use.tokens; t < (c + 1) * use.tokens; ++t)
        for (const std::uint32_t row : tokens[static_cast<std::size_t>(t)]) {
          ++expected.reads[reads.order_of[row]];
          expected.unique[reads.order_of[row]] += seen.insert(row).second;
        }
    }
    for (Index t = 0; t < 1000; ++t)
      for (const std::uint32_t row : tokens[static_cast<std::size_t>(t)]) {
        bool found = false;
        for (Index back = 1; back <= use.tokens && back <= t; ++back) {
          const auto& before = tokens[static_cast<std::size_t>(t - back)];
          found = found || std::find(before.begin(), before.end(), row) != before.end();
        }
        expected.again[reads.order_of[row]] += found;
      }
    CHECK(use.chunks == expected.chunks);
    CHECK(use.reads == expected.reads);
    CHECK(use.unique == expected.unique);
    CHECK(use.again == expected.again);
  }
  CHECK(uses[0].unique == uses[0].reads);
}

TEST_CASE("simulate: popularity, and the rows of a manifest") {
  const Reads reads = random_reads(2, 4000, 3000);
  std::map<std::uint32_t, Index> counts;
  for (const std::uint32_t row : reads.rows) ++counts[row];
  for (const Popularity& found : popularity(reads)) {
    std::vector<Index> of_order;
    for (const auto& [row, count] : counts)
      if (reads.order_of[row] == found.order) of_order.push_back(-count);
    std::sort(of_order.begin(), of_order.end());
    CHECK(found.unique == static_cast<Index>(of_order.size()));
    CHECK(found.once == std::count(of_order.begin(), of_order.end(), -1));
    Index total = 0, first = 0;
    for (std::size_t i = 0; i < of_order.size(); ++i) {
      total -= of_order[i];
      if (i < of_order.size() / 10) first -= of_order[i];
    }
    CHECK(found.reads == total);
    CHECK(found.top.back().second == Approx(rate(first, total)));
    CHECK(found.top[0].second <= found.top[1].second);
  }
  const std::vector<Index> hot = hot_rows(reads, 30);
  REQUIRE(hot.size() == 30);
  CHECK(hot.front() == 0);  // Zipf's first
  Index before = INT64_MAX;
  for (const Index row : hot) {
    const auto number = static_cast<std::uint32_t>(
        std::find(reads.row_of.begin(), reads.row_of.end(), row) - reads.row_of.begin());
    CHECK(counts[number] <= before);
    before = counts[number];
  }
  CHECK(hot_rows(reads, 1000000).size() == reads.row_of.size());
}

TEST_CASE("simulate: a trace is read into the rows that its layout gives") {
  AddressingConfig config;
  config.layer_ids = {1, 4};
  config.max_ngram_size = 3;
  config.engram_vocab_size = {3000, 3000};
  config.n_head_per_ngram = 4;
  config.pad_id = 0;
  config.compressed_vocab_size = 500;
  const std::string path = scratch_path("trace");
  for (const Mixer mixer : {Mixer::multiplicative_xor, Mixer::polynomial}) {
    config.mixer = mixer;
    const Layout layout = make_layout(config, IdentityCompressor(500)).value();
    const SuffixNgrams<> extractor(3);
    NgramState state = extractor.initial_state();
    Random random(1);
    std::vector<NgramWindow> windows;
    for (int t = 0; t < 5000; ++t)
      windows.push_back(extractor.push(
          state, CanonicalId{static_cast<std::int32_t>(random.zipf(500))}, Mark::token));
    RowTraceWriter writer = RowTraceWriter::create(path, layout).value();
    writer.append(windows).value();
    writer.finish().value();

    std::vector<Index> expected(windows.size() * 16);
    const View<Index, 3> view(expected.data(), static_cast<Index>(windows.size()), 2, 8);
    if (mixer == Mixer::polynomial) {
      address_windows(Polynomial::make(layout).value(), windows.data(), view.extent(0), view);
    } else {
      address_windows(MultiplicativeXor::make(layout).value(), windows.data(), view.extent(0),
                      view);
    }
    for (std::size_t i = 0; i < expected.size(); ++i)
      if (i / 8 % 2 == 1) expected[i] += layout.layers[0].rows;

    RowTrace trace = RowTrace::open(path).value();
    const Reads reads = read_trace(trace, 1).value();
    CHECK(reads.tokens == 5000);
    CHECK(reads.table_rows() == layout.layers[0].rows + layout.layers[1].rows);
    CHECK(reads.reads_of == std::vector<std::uint32_t>(5000, 16));
    REQUIRE(reads.rows.size() == expected.size());
    Index wrong = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      wrong += reads.row_of[reads.rows[i]] != expected[i];
      wrong += reads.order_of[reads.rows[i]] != 2 + i % 8 / 4;
    }
    CHECK(wrong == 0);

    // A sample: of each order, column 0 of the first layer alone.
    RowTrace again = RowTrace::open(path).value();
    const Reads part = read_trace(again, 8).value();
    CHECK(part.reads_of == std::vector<std::uint32_t>(5000, 2));
    std::vector<Index> filtered, found;
    for (std::size_t i = 0; i < expected.size(); ++i)
      if (i % 16 == 0 || i % 16 == 4) filtered.push_back(expected[i]);
    for (const std::uint32_t n : part.rows) found.push_back(part.row_of[n]);
    CHECK(found == filtered);
    RowTrace three = RowTrace::open(path).value();
    CHECK(read_trace(three, 3).status().code == Code::invalid_config);
    CHECK(read_trace(three, 16).status().code == Code::invalid_config);
    const Hits whole = replay(reads, Policy::lru, 1600, all_orders),
               sampled = replay(part, Policy::lru, 200, all_orders);
    CHECK(std::abs(rate(sum(whole.hits), sum(whole.reads)) -
                   rate(sum(sampled.hits), sum(sampled.reads))) < 0.02);
  }
}

TEST_CASE("simulate: a trace of nothing, and what the reports say") {
  Reads reads = random_reads(1, 0, 10);
  for (const Policy policy :
       {Policy::lru, Policy::clock, Policy::fifo, Policy::set16, Policy::pinned, Policy::min}) {
    CHECK(sum(replay(reads, policy, 16, all_orders).reads) == 0);
    CHECK(find_policy(to_string(policy)) == policy);
  }
  CHECK_FALSE(find_policy("pinned").has_value());
  CHECK(hot_rows(reads, 3).empty());
  CHECK(chunk_use(reads, {4})[0].chunks == 0);
  CHECK(popularity(reads)[0].top[0].second == 0);

  reads = random_reads(1, 500, 100);
  std::vector<Outcome> outcomes;
  for (const char* name : {"all", "2"})
    for (const Policy policy : {Policy::pinned, Policy::set16})
      outcomes.push_back({policy,
                          {name, name[0] == 'a' ? all_orders : 4u},
                          16384,
                          64,
                          replay(reads, policy, 64, name[0] == 'a' ? all_orders : 4u)});
  const std::string table = csv(reads, outcomes);
  CHECK(std::count(table.begin(), table.end(), '\n') == 1 + 4 * 4);
  CHECK(contains(table, "\nstatic,all,16384,64,0.064000000,all,,0."));
  CHECK(contains(table, "\nset16,2,16384,64,0.064000000,3,0.000000,0.000000\n"));
  const std::string chart = svg(outcomes);
  CHECK(contains(chart, ">static<"));
  CHECK(contains(chart, ">orders 2<"));
  CHECK(contains(svg({}), "<svg"));
}

#endif
