// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Random tables in files, as a model knows them, and checks that hold for a DirectStore whatever
// carries its reads.

#include <catch.hpp>
#include <contains.hpp>
#include <engram/storage/disk/direct_store.hpp>
#include <random.hpp>
#include <scratch.hpp>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace direct_case {

using namespace engram;

inline std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Files of random bytes, and rows somewhere in them.
struct RandomTable {
  std::map<std::string, std::string> files;
  std::vector<TableSegment> segments;
  Index rows = 0, row_bytes = 0, scale_bytes = 0;

  Index each() const { return row_bytes + scale_bytes; }

  /// A row's bytes, found one segment after the other.
  std::string row(Index r) const {
    for (const TableSegment& segment : segments) {
      if (r >= segment.codes.rows) {
        r -= segment.codes.rows;
        continue;
      }
      const auto part = [&](const RowExtent& e) {
        const Index in_page = e.page_rows > 0 ? r % e.page_rows : r;
        const Index page = e.page_rows > 0 ? r / e.page_rows : 0;
        return files.at(e.path).substr(at(e.offset + page * e.page_bytes + in_page * e.stride),
                                       at(e.bytes));
      };
      return part(segment.codes) + (scale_bytes > 0 ? part(segment.scales) : std::string());
    }
    return {};
  }

  void write() const {
    for (const auto& [path, bytes] : files) {
      std::ofstream file(path, std::ios::binary | std::ios::trunc);
      file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
      REQUIRE(file.good());
    }
  }
};

inline RandomTable random_table(std::uint64_t seed) {
  Random random(seed);
  RandomTable table;
  table.row_bytes = 1 + random.below(random.below(4) == 0 ? 9000 : 400);
  table.scale_bytes = random.below(2) == 0 ? 0 : 1 + random.below(20);
  const Index parts = 1 + random.below(4);
  for (Index part = 0; part < parts; ++part) {
    const std::string path = scratch_path("table" + std::to_string(part % 2));
    std::string& bytes = table.files[path];
    TableSegment segment;
    RowExtent& codes = segment.codes;
    codes.path = path;
    codes.rows = 1 + random.below(200);
    codes.bytes = table.row_bytes;
    codes.offset = static_cast<Index>(bytes.size()) + random.below(5000);
    const bool behind = table.scale_bytes > 0 && random.below(2) == 0;
    codes.stride = (behind ? table.each() : table.row_bytes) + random.below(3) * random.below(90);
    if (random.below(2) == 0) {
      codes.page_rows = 1 + random.below(16);
      codes.page_bytes = codes.page_rows * codes.stride + random.below(3000);
    }
    Index end = codes.offset + span_of(codes);
    if (table.scale_bytes > 0) {
      RowExtent& scales = segment.scales = codes;
      scales.bytes = table.scale_bytes;
      if (behind) {
        scales.offset += codes.bytes;
      } else {
        scales.page_rows = scales.page_bytes = 0;
        scales.offset = end + random.below(100);
        scales.stride = table.scale_bytes + random.below(2);
      }
      end = std::max(end, scales.offset + span_of(scales));
    }
    while (static_cast<Index>(bytes.size()) < end) bytes += static_cast<char>(random.bits());
    table.rows += codes.rows;
    table.segments.push_back(segment);
  }
  return table;
}

inline std::vector<RowId> random_rows(const RandomTable& table, Index count, Random& random) {
  std::vector<RowId> rows;
  for (Index i = 0; i < count; ++i) rows.push_back(RowId{random.below(table.rows)});
  return rows;
}

inline View<const RowId, 1> view(const std::vector<RowId>& rows) {
  return View<const RowId, 1>(rows.data(), static_cast<Index>(rows.size()));
}
inline View<std::byte, 1> view(std::string& bytes) {
  return View<std::byte, 1>(reinterpret_cast<std::byte*>(bytes.data()),
                            static_cast<Index>(bytes.size()));
}

inline std::string expected(const RandomTable& table, const std::vector<RowId>& rows) {
  std::string bytes;
  for (const RowId row : rows) bytes += table.row(to_integer(row));
  return bytes;
}

/// A row at each of the 4,096 places in a page, 4,097 bytes apart; the file ends with the last one,
/// inside of a page.
inline RandomTable table_at_every_place() {
  RandomTable table;
  table.rows = 4096;
  table.row_bytes = 264;
  RowExtent codes;
  codes.path = scratch_path("places");
  codes.rows = table.rows;
  codes.stride = 4097;
  codes.bytes = table.row_bytes;
  codes.offset = 4096 - 263;
  Random random(11);
  std::string bytes(at(codes.offset + span_of(codes)), '-');
  for (Index row = 0; row < table.rows; ++row)
    for (Index b = 0; b < table.row_bytes; ++b)
      bytes[at(codes.offset + row * 4097 + b)] = static_cast<char>(random.bits() >> 40);
  table.files[codes.path] = std::move(bytes);
  table.segments = {{codes, {}}};
  table.write();
  return table;
}

/// All rows of a table, in batches of 512, in another order.
template <class Store>
void check_all_rows(const Store& store, const RandomTable& table) {
  auto reader = store.reader();
  Index wrong = 0;
  for (Index first = 0; first < table.rows; first += 512) {
    std::vector<RowId> rows;
    for (Index i = first; i < std::min(table.rows, first + 512); ++i)
      rows.push_back(RowId{i * 1733 % table.rows});
    std::string bytes(rows.size() * at(table.each()), '?');
    Ticket ticket;
    REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
    REQUIRE(reader.wait(ticket).ok());
    for (std::size_t i = 0; i < rows.size(); ++i)
      wrong += bytes.compare(i * at(table.each()), at(table.each()),
                             table.row(to_integer(rows[i]))) != 0;
  }
  CHECK(wrong == 0);
}

/// Rows of random tables are what the files hold, batch after batch and several at a time.
template <class MakeReads>
void check_random_tables(const MakeReads& make, std::uint64_t seeds) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    INFO("seed " << seed);
    const RandomTable table = random_table(seed);
    table.write();
    Random random(seed + 1000);
    DirectOptions options;
    options.depth = 1 + random.below(40);
    options.most_batches = 3;
    const auto store =
        DirectStore<std::decay_t<decltype(make())>>::open(table.segments, make(), options).value();
    CHECK(store.num_rows() == table.rows);
    CHECK(store.row_bytes() == table.row_bytes);
    CHECK(store.scale_bytes() == table.scale_bytes);
    auto reader = store.reader();
    Index asked = 0;
    for (int round = 0; round < 6; ++round) {
      std::vector<RowId> rows[3];
      std::string bytes[3];
      std::uint32_t flags[3] = {};
      Ticket tickets[3];
      for (int b = 0; b < 3; ++b) {
        rows[b] = random_rows(table, random.below(round == 0 ? 3 : 500), random);
        bytes[b].assign(rows[b].size() * at(table.each()), '?');
        tickets[b].flag = &flags[b];
        REQUIRE(reader.submit(view(rows[b]), view(bytes[b]), tickets[b]).ok());
        asked += static_cast<Index>(rows[b].size());
      }
      for (const int b : {1, 0, 2}) {
        if (random.below(2) == 0)
          while (!reader.poll(tickets[b])) {
          }
        REQUIRE(reader.wait(tickets[b]).ok());
        CHECK(tickets[b].id == -1);
        CHECK(flags[b] == 1);
        REQUIRE(bytes[b] == expected(table, rows[b]));
      }
    }
    const ReadCounters counters = reader.counters();
    CHECK(counters.batches == 18);
    CHECK(counters.rows == asked);
    CHECK(counters.unique_rows <= asked);
    CHECK(counters.most_in_flight <= options.depth);
    CHECK(counters.failed_batches == 0);
  }
}

}  // namespace direct_case
