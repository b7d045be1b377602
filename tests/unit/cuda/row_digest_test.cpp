// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The digest of a table's rows: a published value, the same on lanes of any kind and for any
// stride, and another for every fault an upload can have.
#include "threaded_warp.hpp"

#include <catch.hpp>
#include <engram/cuda/pack_rows.hpp>
#include <engram/storage/host_store.hpp>
#include <random.hpp>

#include <algorithm>
#include <atomic>
#include <vector>

using namespace engram;

namespace {

/// Rows packed, bytes between them of any value.
struct Packed {
  Index rows, bytes, stride;
  std::vector<std::byte> all;

  Packed(Index n, Index size, Index step, std::byte between = {})
      : rows(n), bytes(size), stride(step), all(static_cast<std::size_t>(n * step), between) {}

  std::byte& at(Index row, Index b) { return all[static_cast<std::size_t>(row * stride + b)]; }
};

Packed numbered(Index rows, Index bytes, Index stride, std::byte between = {}) {
  Packed table(rows, bytes, stride, between);
  for (Index row = 0; row < rows; ++row)
    for (Index b = 0; b < bytes; ++b)
      table.at(row, b) = static_cast<std::byte>(row * 37 + b * 11 + 5);
  return table;
}

Packed random_table(Index rows, Index bytes, std::uint64_t seed) {
  Random random(seed);
  Packed table(rows, bytes, bytes);
  for (std::byte& byte : table.all) byte = static_cast<std::byte>(random.bits());
  return table;
}

std::uint64_t digest_of(const Packed& table) {
  std::uint64_t sum = 0;
  run_items(RowDigestBody{table.all.data(), table.stride, table.bytes, 0, &sum}, {0, table.rows});
  return sum;
}

template <class Lanes>
std::uint64_t digest_backwards(const Packed& table) {
  std::uint64_t sum = 0;
  const RowDigestBody body{table.all.data(), table.stride, table.bytes, 0, &sum};
  for (Index row = table.rows; row-- > 0;) body(Lanes(), row);
  return sum;
}

std::uint64_t digest_by_warp(const Packed& table) {
  std::atomic<std::uint64_t> total{0};
  ThreadedWarp::run(table.rows, [&](const auto& lanes, Index row) {
    std::uint64_t own = 0;
    RowDigestBody{table.all.data(), table.stride, table.bytes, 0, &own}(lanes, row);
    total += own;
  });
  return total;
}

}  // namespace

TEST_CASE("row digest: values computed by another program") {
  // Whole numbers in Python, over the bytes of numbered(), by the formula of RowDigestBody.
  CHECK(digest_of(numbered(5, 25, 25)) == 0xE625B933130DF888);
  CHECK(digest_of(numbered(3, 264, 272)) == 0xA9F1BE4ACA15057A);
  CHECK(digest_of(numbered(1, 1, 1)) == 0x0C73D8B410FE6447);
}

TEST_CASE("row digest: lanes of any kind, rows in any order and at any distance give one value") {
  for (const Index bytes : {1, 7, 8, 9, 63, 64, 65, 128, 131, 256, 264, 1000}) {
    INFO(bytes << " bytes");
    const Packed table = numbered(9, bytes, bytes);
    const std::uint64_t expected = digest_of(table);
    CHECK(digest_backwards<SerialLanes>(table) == expected);
    CHECK(digest_backwards<HostLanes<16>>(table) == expected);
    CHECK(digest_backwards<HostLanes<32>>(table) == expected);
    CHECK(digest_backwards<HostLanes<64>>(table) == expected);
    CHECK(digest_by_warp(table) == expected);
    for (const Index more : {1, 8, 16, 61}) {
      const Packed apart = numbered(9, bytes, bytes + more, std::byte{0xEE});
      CHECK(digest_of(apart) == expected);
      CHECK(digest_backwards<SerialLanes>(apart) == expected);
      CHECK(digest_by_warp(apart) == expected);
    }
    std::uint64_t parts[2] = {};
    run_items(RowDigestBody{table.all.data() + 4 * bytes, bytes, bytes, 4, &parts[1]}, {0, 5});
    run_items(RowDigestBody{table.all.data(), bytes, bytes, 0, &parts[0]}, {0, 4});
    CHECK(parts[0] + parts[1] == expected);
  }
}

TEST_CASE("row digest: every flipped bit is seen") {
  for (const Index bytes : {5, 33, 64, 150}) {
    Packed table = random_table(4, bytes, 1);
    const std::uint64_t expected = digest_of(table);
    Index missed = 0;
    for (Index row = 0; row < table.rows; ++row)
      for (Index bit = 0; bit < 8 * bytes; ++bit) {
        table.at(row, bit / 8) ^= std::byte{1} << bit % 8;
        missed += digest_of(table) == expected;
        table.at(row, bit / 8) ^= std::byte{1} << bit % 8;
      }
    CHECK(missed == 0);
    CHECK(digest_of(table) == expected);
  }
}

TEST_CASE("row digest: rows and words that changed places, moved or were lost are seen") {
  const Index rows = 50, bytes = 264;
  const Packed table = random_table(rows, bytes, 2);
  const std::uint64_t expected = digest_of(table);
  const auto row_at = [&](Packed& t, Index row) { return t.all.begin() + row * bytes; };

  for (Index row = 1; row < rows; ++row) {
    Packed swapped = table;
    std::swap_ranges(row_at(swapped, 0), row_at(swapped, 1), row_at(swapped, row));
    CHECK(digest_of(swapped) != expected);
  }
  for (const Index by : {Index{1}, Index{8}, bytes}) {
    Packed moved = table;
    std::rotate(moved.all.begin(), moved.all.begin() + by, moved.all.end());
    CHECK(digest_of(moved) != expected);
  }
  for (Index word = 1; word < bytes / 8; ++word) {
    Packed swapped = table;
    std::swap_ranges(row_at(swapped, 7), row_at(swapped, 7) + 8, row_at(swapped, 7) + 8 * word);
    CHECK(digest_of(swapped) != expected);
  }
  Packed lost = table;  // the second half never arrived
  std::fill(row_at(lost, rows / 2), lost.all.end(), std::byte{0});
  CHECK(digest_of(lost) != expected);
  Packed twice = table;
  std::copy_n(row_at(twice, 3), bytes, row_at(twice, 4));
  CHECK(digest_of(twice) != expected);
}

TEST_CASE("pack rows: codes, scales and zeros, with the digest of the table, in any pieces") {
  struct Shape {
    Index rows, codes, scales, stride;
  };
  for (const Shape& s : {Shape{1, 1, 0, 16}, Shape{700, 256, 8, 272}, Shape{90, 33, 3, 36},
                         Shape{3, 20'000, 5, 20'032}}) {
    INFO(s.rows << " rows of " << s.codes << " and " << s.scales);
    HostStore from = HostStore::make(s.rows, s.codes, s.scales).value();
    Packed expected = random_table(s.rows, s.codes + s.scales, 3);
    for (Index row = 0; row < s.rows; ++row) {
      const MutableRowBytes to = from.mutable_ref()(row);
      for (Index b = 0; b < s.codes; ++b) to.codes[b] = expected.at(row, b);
      for (Index b = 0; b < s.scales; ++b) to.scales[b] = expected.at(row, s.codes + b);
    }
    for (const Index piece : {Index{1}, Index{64}, s.rows}) {
      Packed to(s.rows, s.codes + s.scales, s.stride, std::byte{0xEE});
      std::uint64_t digest = 0;
      for (Index begin = 0; begin < s.rows; begin += piece)
        digest += pack_rows(from.ref(), {s.rows, s.codes, s.scales},
                            {begin, std::min(begin + piece, s.rows)}, s.stride,
                            to.all.data() + begin * s.stride);
      CHECK(digest == digest_of(expected));
      Index wrong = 0;
      for (Index row = 0; row < s.rows; ++row)
        for (Index b = 0; b < s.stride; ++b)
          wrong += to.at(row, b) != (b < to.bytes ? expected.at(row, b) : std::byte{0});
      CHECK(wrong == 0);
    }
  }
}
