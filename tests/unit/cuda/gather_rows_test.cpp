// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a GPU's grid runs for rows to copy and for fp8 rows, here thread after thread, for they do
// not talk to each other: each group size and width, dense and with gaps, grids that are too small,
// ids that are no rows; of fp8 every code under every scale.
#include "threaded_warp.hpp"

#include <catch.hpp>
#include <elements.hpp>
#include <engram/codec/plain.hpp>
#include <engram/cuda/copy_rows_body.hpp>
#include <engram/cuda/decode_fp8.hpp>
#include <engram/storage/strided_rows.hpp>

#include <cstring>
#include <limits>
#include <vector>

using namespace engram;
using elements::at;
using elements::poisoned;
using elements::same_bits;

namespace {

/// One thread of a grid.
struct SerialGrid {
  static constexpr int threads = threads_of_a_block;
  int own;
  Index own_block, all_blocks;

  int thread() const { return own; }
  Index block() const { return own_block; }
  Index blocks() const { return all_blocks; }

  template <class Body>
  static void run(Index blocks, const Body& body) {
    for (Index block = 0; block < blocks; ++block)
      for (int thread = 0; thread < threads; ++thread) body(SerialGrid{thread, block, blocks});
  }
};

/// A call, and what became of it.
struct Shape {
  Index tokens, columns, width;
  Index row_gap = 0, out_gap = 0;  ///< elements behind each token's
  Index blocks = 1;
  bool with_bad_ids = true;
};

struct Table {
  Index num_rows;
  std::vector<std::byte> bytes;
  StridedRows ref;
};

/// Random bytes; rows `stride` bytes apart.
Table random_table(Index num_rows, Index stride, Index scale_offset, Random& random) {
  Table table{num_rows, std::vector<std::byte>(at(num_rows * stride)), {}};
  for (std::byte& b : table.bytes) b = static_cast<std::byte>(random.below(256));
  table.ref = {table.bytes.data(), stride, scale_offset};
  return table;
}

template <template <class> class Body, int Group, bool Flat, class Row, class Out, class Value>
void check_rows(const Table& table, const Shape& shape, const Value& value, Random& random) {
  INFO("groups of " << Group << ", flat " << Flat << ", " << shape.tokens << " x " << shape.columns
                    << " rows of " << shape.width << ", " << shape.blocks << " blocks");
  const Index row_stride = shape.columns + shape.row_gap;
  const Index out_stride = shape.columns * shape.width + shape.out_gap;
  const Index count = shape.tokens * shape.columns;
  std::vector<Row> ids(at(shape.tokens * row_stride), static_cast<Row>(table.num_rows + 9));
  const View<Row, 2> rows =
      View<Row, 2>(ids.data(), shape.tokens, shape.columns).template with_stride<0>(row_stride);
  const auto id = [&](Index item) -> Row& {
    return rows(item / shape.columns, item % shape.columns);
  };
  for (Index i = 0; i < count; ++i)
    id(i) = static_cast<Row>(random.below(8) == 0 ? -1 : random.below(table.num_rows));
  Index first_bad = -1;
  if (shape.with_bad_ids) {
    first_bad = count / 3;
    id(count - 1) = static_cast<Row>(-2);
    id(count / 2) = std::numeric_limits<Row>::max();
    id(first_bad) = static_cast<Row>(table.num_rows);
  }

  std::vector<Out> found = poisoned<Out>(shape.tokens * out_stride);
  std::vector<Out> expected = found;
  for (Index i = 0; i < count; ++i) {
    const auto row = static_cast<Index>(id(i));
    Out* const to = &expected[at(i / shape.columns * out_stride + i % shape.columns * shape.width)];
    for (Index d = 0; d < shape.width; ++d)
      to[d] = row >= 0 && row < table.num_rows ? value(table.ref(row), d) : Out{};
  }

  Reports::Found wrong;
  using Groups = RowGroups<Group, Flat, StridedRows, Row, Out, Reports>;
  SerialGrid::run(
      shape.blocks,
      Body<Groups>{Groups{table.ref, rows, table.num_rows,
                          static_cast<int>(shape.width * Index{sizeof(Out)} / 16),
                          View<Out, 2>(found.data(), shape.tokens, shape.columns * shape.width)
                              .template with_stride<0>(out_stride),
                          Reports{&wrong}}});
  CHECK(same_bits(found, expected));
  CHECK(wrong.code == (shape.with_bad_ids ? Code::bad_row : Code::ok));
  CHECK(wrong.index == first_bad);
}

/// Dense and with gaps, int32 and int64 ids, grids of one block, of some, and of too many; counts
/// that are no multiple of four rows, nor of the grid's.
template <template <class> class Body, int Group, class Out, class Value>
void check_grids(const Table& table, Index width, const Value& value, Random& random) {
  constexpr Index gap = 16 / Index{sizeof(Out)};
  const auto check = [&](Shape shape) {
    shape.width = width;
    check_rows<Body, Group, true, int, Out>(table, shape, value, random);
    check_rows<Body, Group, false, std::int64_t, Out>(table, shape, value, random);
    shape.row_gap = 2;
    shape.out_gap = gap;
    check_rows<Body, Group, false, int, Out>(table, shape, value, random);
  };
  check({.tokens = 1, .columns = 1, .width = 0, .with_bad_ids = false});
  check({.tokens = 1, .columns = 3, .width = 0});
  check({.tokens = 2, .columns = 2, .width = 0, .blocks = 3});
  check({.tokens = 47, .columns = 3, .width = 0});
  check({.tokens = 31, .columns = 8, .width = 0, .blocks = 2, .with_bad_ids = false});
  check({.tokens = 29, .columns = 5, .width = 0, .blocks = 7});
}

template <int Group>
void check_copies(std::uint64_t seed) {
  Random random(seed);
  for (const Index bytes : {16, 32, 48, 64, 80, 128, 144, 256, 512, 528, 2560}) {
    const Table table = random_table(41, bytes + 16 * random.below(3), 0, random);
    const auto bits = [](RowBytes row, Index d) {
      Bf16 element;
      std::memcpy(static_cast<void*>(&element), row.codes + 2 * d, 2);
      return element;
    };
    check_grids<CopyRowsBody, Group, Bf16>(table, bytes / 2, bits, random);
    if (bytes == 528)
      check_grids<CopyRowsBody, Group, float>(
          table, bytes / 4, [](RowBytes row, Index d) { return F32Codec().value(row, d); }, random);
  }
}

template <class Out>
constexpr auto reference =
    [](RowBytes row, Index d) { return from_float<Out>(Fp8Codec().value(row, d)); };

/// Most scales and codes as in a model, so that both ways of decoding are taken.
template <int Group, class Out>
void check_fp8(std::uint64_t seed) {
  Random random(seed);
  for (const Index width : {32, 64, 96, 128, 160, 256, 288, 512, 1024, 1280}) {
    const Index scales_at = width + random.below(3);  // at any byte
    const Index used = scales_at + width / Fp8Codec::block;
    const Index stride = (used + 7) / 8 * 8 + 8 * random.below(3);
    Table table = random_table(37, stride, scales_at, random);
    for (Index row = 0; row < table.num_rows; ++row) {
      std::byte* const bytes = &table.bytes[at(row * stride)];
      for (Index d = 0; d < width && row % 3 != 0; ++d)
        if ((bytes[d] & std::byte{0x7F}) == std::byte{0x7F}) bytes[d] = std::byte{3};
      for (Index b = 0; b < width / Fp8Codec::block && row % 4 != 0; ++b)
        bytes[scales_at + b] = static_cast<std::byte>(110 + random.below(30));
    }
    check_grids<DecodeFp8Body, Group, Out>(table, width, reference<Out>, random);
  }
}

/// All codes, those of a NaN left out, by the fast way alone.
template <class Out>
int wrong_codes(std::uint8_t scale) {
  constexpr int count = 16 / int{sizeof(Out)};
  int wrong = 0;
  for (unsigned begin = 0; begin < 256; ++begin) {
    Words<count / 4> codes;
    std::uint8_t bytes[count];
    for (int i = 0; i < count; ++i) {
      const unsigned code = (begin + 29u * static_cast<unsigned>(i)) & 0xFF;
      bytes[i] = static_cast<std::uint8_t>((code & 0x7F) == 0x7F ? 0x81 : code);
    }
    std::memcpy(&codes, bytes, sizeof codes);
    const Words<4> piece = decode_piece_fp8<Out>(codes, scale);
    Out found[count];
    std::memcpy(static_cast<void*>(found), &piece, sizeof piece);
    for (int i = 0; i < count; ++i) {
      const Out expected = from_float<Out>(scaled(E4m3{bytes[i]}, E8m0{scale}));
      wrong += std::memcmp(static_cast<const void*>(&found[i]), &expected, sizeof expected) != 0;
    }
  }
  return wrong;
}

/// Rows of all 256 codes under each scale, and under two scales in turn.
template <class Out>
void check_all_pairs() {
  constexpr Index width = 256, blocks = width / Fp8Codec::block, stride = 272;
  Table table{512, std::vector<std::byte>(at(512 * stride)), {}};
  table.ref = {table.bytes.data(), stride, width};
  for (Index row = 0; row < 512; ++row)
    for (Index b = 0; b < width + blocks; ++b)
      table.bytes[at(row * stride + b)] =
          static_cast<std::byte>(b < width                  ? b
                                 : row >= 256 && b % 2 == 1 ? 127
                                                            : row % 256);
  std::vector<int> ids;
  for (int row = 0; row < 512; ++row) ids.push_back(row);
  std::vector<Out> found(at(512 * width));
  Reports::Found wrong;
  using Groups = RowGroups<16, true, StridedRows, int, Out, Reports>;
  SerialGrid::run(
      3, DecodeFp8Body<Groups>{Groups{table.ref, View<const int, 2>(ids.data(), 64, 8), 512,
                                      int{width * sizeof(Out) / 16},
                                      View<Out, 2>(found.data(), 64, 8 * width), Reports{&wrong}}});
  int different = 0;
  for (Index i = 0; i < 512 * width; ++i) {
    const Out expected = reference<Out>(table.ref(i / width), i % width);
    different += std::memcmp(static_cast<const void*>(&found[at(i)]), &expected, sizeof(Out)) != 0;
  }
  CHECK(different == 0);
  CHECK(wrong.code == Code::ok);
}

}  // namespace

TEST_CASE("gather rows: copies of 16 bytes a thread, each group size, width, stride and grid") {
  check_copies<4>(1);
  check_copies<8>(2);
  check_copies<16>(3);
  check_copies<32>(4);
}

TEST_CASE("gather rows: fp8 rows have the codec's bits, each group size, width, stride and grid") {
  check_fp8<4, Bf16>(5);
  check_fp8<8, Bf16>(6);
  check_fp8<16, Bf16>(7);
  check_fp8<32, Bf16>(8);
  check_fp8<16, float>(9);
  check_fp8<32, float>(10);
}

TEST_CASE("gather rows: all 65,536 pairs of a code and a scale have the codec's bits") {
  check_all_pairs<Bf16>();
  check_all_pairs<float>();
}

TEST_CASE("gather rows: four codes at once are exact under every plain scale") {
  for (unsigned scale = 0; scale < 256; ++scale) {
    if (!is_plain_scale(static_cast<std::uint8_t>(scale))) continue;
    INFO("scale " << scale);
    CHECK(wrong_codes<Bf16>(static_cast<std::uint8_t>(scale)) == 0);
    CHECK(wrong_codes<float>(static_cast<std::uint8_t>(scale)) == 0);
  }
}

TEST_CASE("gather rows: what stands for a GPU's product of two bf16 is that product") {
  int wrong = 0;
  for (std::uint32_t code = 0; code < 256; ++code)
    for (std::uint32_t scale = 10; scale <= 246; ++scale) {
      const std::uint32_t small = (code & 0x80) << 8 | (code & 0x7F) << 4;
      const std::uint32_t first = scale_pair_fp8(small << 16 | 0x3F80, 0x7B807B80);
      const std::uint32_t both = scale_pair_fp8(first, scale << 23 | 127 << 7);
      const auto number = [](std::uint32_t bits) { return double{from_bits(bits & 0xFFFF0000)}; };
      wrong += number(first) != number(small << 16) * 0x1p120;
      // 480 is a NaN's place among the codes, and may become infinite.
      if ((code & 0x7F) != 0x7F) wrong += number(both) != number(first) * number(scale << 23);
      wrong += (both & 0xFFFF) != (first & 0xFFFF) || (both >> 31) != code >> 7;
    }
  CHECK(wrong == 0);
}

TEST_CASE("gather rows: a NaN among four codes is seen, and nothing else") {
  for (unsigned code = 0; code < 256; ++code)
    for (unsigned place = 0; place < 4; ++place) {
      const std::uint32_t codes = (0x00FE807Eu & ~(0xFFu << 8 * place)) | code << 8 * place;
      REQUIRE(((nan_bits_fp8(codes) & 0x80808080) != 0) == ((code & 0x7F) == 0x7F));
    }
}
