// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <catch.hpp>
#include <contains.hpp>
#include <cstring>
#include <engram/codec/plain.hpp>
#include <engram/storage/any_table.hpp>
#include <engram/storage/host_store.hpp>
#include <random.hpp>
#include <thread>
#include <vector>

using namespace engram;

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Rows at an odd address, any number of bytes apart, the last one ending where the memory does.
class OddStore {
 public:
  using space_type = HostSpace;
  OddStore(Index rows, Index row_bytes, Index stride, std::uint64_t seed)
      : rows_(rows), row_bytes_(row_bytes), stride_(stride) {
    Random random(seed);
    memory_.resize(at(1 + (rows - 1) * stride + row_bytes));
    for (std::byte& b : memory_) b = static_cast<std::byte>(random.bits());
  }
  Index num_rows() const { return rows_; }
  Index row_bytes() const { return row_bytes_; }
  Index scale_bytes() const { return 0; }
  StridedRows ref() const { return {memory_.data() + 1, stride_, 0}; }

 private:
  Index rows_, row_bytes_, stride_;
  std::vector<std::byte> memory_;
};

/// Signed bytes times two to a power, the power in a byte of its own: the least a format with
/// scales has. Uses the library's plain decoding loop.
struct ByteCodec {
  Index code_bytes(Index width) const { return width > 0 ? width : -1; }
  Index scale_bytes(Index) const { return 1; }
  float value(RowBytes row, Index d) const {
    return scaled(E4m3{static_cast<std::uint8_t>(row.codes[d])},
                  E8m0{static_cast<std::uint8_t>(120 + static_cast<int>(row.scales[0]) % 16)});
  }
};

template <Element T, Element Out>
Out element_of(const std::byte* bytes) {
  T element;
  std::memcpy(static_cast<void*>(&element), bytes, sizeof(T));
  if constexpr (std::is_same_v<T, Out>)
    return element;
  else
    return from_float<Out>(to_float(element));
}

template <class T>
bool same_bits(const T& a, const T& b) {
  return std::memcmp(static_cast<const void*>(&a), static_cast<const void*>(&b), sizeof(T)) == 0;
}

/// Ids with the first and last rows among them, and tokens without rows.
template <class Row>
std::vector<Row> random_rows(Index tokens, Index columns, Index num_rows, Random& random) {
  std::vector<Row> rows(at(tokens * columns));
  for (Index t = 0; t < tokens; ++t) {
    const Index kind = random.below(6);
    for (Index c = 0; c < columns; ++c)
      rows[at(t * columns + c)] =
          static_cast<Row>(kind == 0   ? -1
                           : kind == 1 ? num_rows - 1 - (num_rows > 1 ? random.below(2) : 0)
                           : kind == 2 ? 0
                                       : random.below(num_rows));
  }
  return rows;
}

template <Element T, Element Out, class Row>
void check_gather(std::uint64_t seed) {
  Random random(seed);
  for (int round = 0; round < 40; ++round) {
    const Index width = round % 10 == 3 ? 32 : round % 10 == 7 ? 64 : 1 + random.below(100);
    const Index columns = 1 + random.below(round % 4 == 0 ? 40 : 5);
    const Index tokens = random.below(71), num_rows = 1 + random.below(50);
    const Index bytes = width * Index{sizeof(T)};
    const auto made = Table<OddStore, PlainCodec<T>>::make(
        OddStore(num_rows, bytes, bytes + random.below(9), random.bits()), {}, width);
    REQUIRE(made.ok());
    const auto& table = made.value();
    const Index gap = random.below(3), row_gap = random.below(3);
    const std::vector<Row> ids = random_rows<Row>(tokens, columns + row_gap, num_rows, random);
    const auto rows =
        View<const Row, 2>(ids.data(), tokens, columns).template with_stride<0>(columns + row_gap);
    const Index stride = columns * width + gap;
    std::vector<Out> memory(at(tokens * stride), from_float<Out>(7.0f));
    const auto out =
        View<Out, 2>(memory.data(), tokens, columns * width).template with_stride<0>(stride);
    REQUIRE(table.gather(rows, out).ok());
    Index wrong = 0;
    for (Index t = 0; t < tokens; ++t) {
      for (Index i = 0; i < columns * width; ++i) {
        const auto row = static_cast<Index>(rows(t, i / width));
        const Out expected =
            row < 0
                ? Out{}
                : element_of<T, Out>(table.store().ref()(row).codes + i % width * Index{sizeof(T)});
        wrong += same_bits(out(t, i), expected) ? 0 : 1;
      }
      for (Index i = columns * width; i < stride; ++i)
        wrong += same_bits(memory[at(t * stride + i)], from_float<Out>(7.0f)) ? 0 : 1;
    }
    INFO("T " << tokens << ", H " << columns << ", E " << width << ", rows " << num_rows);
    REQUIRE(wrong == 0);
  }
}

template <Element T>
void check_outputs(std::uint64_t seed) {
  check_gather<T, float, std::int32_t>(seed);
  check_gather<T, Bf16, std::int64_t>(seed + 1);
  check_gather<T, F16, std::int32_t>(seed + 2);
  check_gather<T, T, std::int64_t>(seed + 3);
}

}  // namespace

TEST_CASE("table: make refuses what the codec has no rows of") {
  const auto made = [](Index row_bytes, Index scale_bytes, Index width) {
    return Table<HostStore, F32Codec>::make(HostStore::make(3, row_bytes, scale_bytes).value(), {},
                                            width, "digest");
  };
  CHECK(made(40, 0, 10).ok());
  CHECK(made(40, 0, 10).value().layout_digest() == "digest");
  CHECK(made(40, 0, 10).value().row_width() == 10);
  CHECK(made(40, 0, 10).value().num_rows() == 3);
  for (const Index width : {Index{0}, Index{-1}, Index{-10}, INT64_MIN}) {
    CHECK(made(40, 0, width).status().code == Code::mismatch);
    CHECK(contains(made(40, 0, width).message(), "table: no row of this codec has "));
  }
  CHECK(made(40, 0, 9).message() ==
        "table: the store's rows have 40 bytes, expected 36 for 9 elements");
  CHECK(made(39, 0, 10).status().code == Code::mismatch);
  CHECK(made(40, 2, 10).message() ==
        "table: the store's rows have 2 bytes of scales, expected 0 for 10 elements");
  const auto scaled_rows = Table<HostStore, ByteCodec>::make(HostStore::make(3, 8).value(), {}, 8);
  CHECK(contains(scaled_rows.message(), "0 bytes of scales, expected 1"));
  const auto bytes = Table<HostStore, Bf16Codec>::make(HostStore::make(3, 40).value(), {}, 10);
  CHECK(contains(bytes.message(), "expected 20 for 10 elements"));
}

TEST_CASE("table: one of another layout or of other rows is refused with both") {
  const std::string digest(64, 'a'), other(64, 'b');
  const auto made = [](const std::string& of) {
    return Table<HostStore, F32Codec>::make(HostStore::make(3, 40).value(), {}, 10, of);
  };
  const auto table = made(digest), unknown = made("");
  CHECK(table.value().expect(3, digest).ok());
  CHECK(table.value().expect(3).ok());
  CHECK(unknown.value().expect(3, other).ok());  // nobody knows: the rows decide
  const Result<void> unlike = table.value().expect(3, other);
  CHECK(unlike.status().code == Code::mismatch);
  CHECK(contains(unlike.message(), digest));
  CHECK(contains(unlike.message(), other));
  for (const Index rows : {2, 4})
    for (const auto* each : {&table, &unknown})
      CHECK(each->value().expect(rows).status().code == Code::mismatch);
}

TEST_CASE("table: rows of floats in every type, at any address, whatever their bits") {
  check_outputs<float>(1);
}
TEST_CASE("table: rows of bf16 in every type, at any address, whatever their bits") {
  check_outputs<Bf16>(11);
}
TEST_CASE("table: rows of f16 in every type, at any address, whatever their bits") {
  check_outputs<F16>(21);
}

TEST_CASE("table: rows with scales, and a codec that has no loop of its own") {
  Random random(5);
  HostStore store = HostStore::make(9, 13, 1).value();
  for (Index r = 0; r < 9; ++r) {
    const MutableRowBytes row = store.mutable_ref()(r);
    for (Index d = 0; d < 13; ++d) row.codes[d] = static_cast<std::byte>(random.bits());
    row.scales[0] = static_cast<std::byte>(random.bits());
  }
  const auto table = Table<HostStore, ByteCodec>::make(std::move(store), {}, 13).value();
  const std::vector<int> ids = random_rows<int>(40, 3, 9, random);
  std::vector<Bf16> out(40 * 39);
  REQUIRE(
      table.gather(View<const int, 2>(ids.data(), 40, 3), View<Bf16, 2>(out.data(), 40, 39)).ok());
  for (Index i = 0; i < 40 * 39; ++i) {
    const Index row = ids[at(i / 13)];
    const float expected = row < 0 ? 0 : ByteCodec().value(table.store().ref()(row), i % 13);
    CHECK(out[at(i)].bits == to_bf16(expected).bits);
  }
}

TEST_CASE("table: bad calls are refused, named, and write nothing") {
  const auto table =
      Table<HostStore, F32Codec>::make(HostStore::make(5, 12).value(), {}, 3).value();
  std::vector<float> memory(100, 7.0f);
  const std::vector<std::int64_t> good(8, 4);
  const auto gather = [&](const std::vector<std::int64_t>& ids, Index tokens, Index columns,
                          Index out_tokens, Index out_width) {
    const Status found = table.gather(View<const std::int64_t, 2>(ids.data(), tokens, columns),
                                      View<float, 2>(memory.data(), out_tokens, out_width));
    CHECK(memory == std::vector<float>(100, 7.0f));
    return found;
  };
  CHECK(gather(good, 4, 2, 3, 6) == Status{Code::shape_mismatch, 0, 4});
  CHECK(gather(good, 4, 2, 5, 6) == Status{Code::shape_mismatch, 0, 4});
  CHECK(gather(good, 4, 2, 4, 5) == Status{Code::shape_mismatch, 0, 6});
  CHECK(gather(good, 4, 2, 4, 7) == Status{Code::shape_mismatch, 0, 6});
  CHECK(gather(good, 4, 0, 4, 0) == Status{Code::shape_mismatch, 0, 1});
  CHECK(gather(good, 0, 2, 0, 5) == Status{Code::shape_mismatch, 0, 6});
  CHECK(gather(good, 0, 2, 0, 6).ok());
  for (const std::int64_t bad :
       {std::int64_t{5}, std::int64_t{-2}, INT64_MAX, INT64_MIN, std::int64_t{INT32_MIN}})
    for (const Index place : {0, 3, 7}) {
      std::vector<std::int64_t> ids = good;
      ids[at(place)] = bad;
      CHECK(gather(ids, 4, 2, 4, 6) == Status{Code::bad_row, 0, place});
    }
  std::vector<std::int64_t> part = good;  // one column of a token, first or last
  part[7] = -1;
  CHECK(gather(part, 4, 2, 4, 6) == Status{Code::bad_row, 0, 7});
  std::swap(part[6], part[7]);
  CHECK(gather(part, 4, 2, 4, 6) == Status{Code::bad_row, 0, 7});
  const std::vector<std::int32_t> narrow = {4, 4, 4, INT32_MIN};
  CHECK(table.gather(View<const std::int32_t, 2>(narrow.data(), 2, 2),
                     View<float, 2>(memory.data(), 2, 6)) == Status{Code::bad_row, 0, 3});
  CHECK(memory == std::vector<float>(100, 7.0f));
}

TEST_CASE("table: threads gather their shares, and all refuse the same") {
  Random random(6);
  const auto table = Table<OddStore, F16Codec>::make(OddStore(40, 14, 15, 3), {}, 7).value();
  for (const Index tokens : {0, 1, 31, 70, 200}) {
    std::vector<std::int64_t> ids = random_rows<std::int64_t>(tokens, 3, 40, random);
    const auto gather = [&](std::vector<float>& to, const CpuDevice& device) {
      return table.gather(View<const std::int64_t, 2>(ids.data(), tokens, 3),
                          View<float, 2>(to.data(), tokens, 21), device);
    };
    std::vector<float> expected(at(tokens * 21)), found(expected.size());
    REQUIRE(gather(expected, {}).ok());
    for (const bool bad : {false, true}) {
      if (bad && tokens == 0) continue;
      if (bad) ids.back() = 40;
      Barrier barrier;
      std::vector<Status> statuses(3);
      std::vector<std::thread> threads;
      for (Index i = 0; i < 3; ++i)
        threads.emplace_back([&, i] {
          const CpuDevice device{{i, 3}, &barrier};
          statuses[at(i)] = gather(found, device);
          device.wait();
        });
      for (std::thread& t : threads) t.join();
      for (const Status& s : statuses)
        CHECK(s == (bad ? Status{Code::bad_row, 0, tokens * 3 - 1} : Status{}));
      CHECK((expected.empty() ||
             std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) == 0));
    }
  }
}

TEST_CASE("any table: answers as the table it holds, for every type of ids and elements") {
  Random random(7);
  const auto make = [] {
    return Table<OddStore, Bf16Codec>::make(OddStore(20, 10, 11, 4), {}, 5).value();
  };
  const auto table = make();
  AnyTable any(make());
  CHECK(any.num_rows() == 20);
  CHECK(any.row_width() == 5);
  const auto check = [&]<class Row, class Out>(Row, Out) {
    std::vector<Row> ids = random_rows<Row>(12, 2, 20, random);
    std::vector<Out> expected(120), found(120);
    const View<const Row, 2> rows(ids.data(), 12, 2);
    REQUIRE(table.gather(rows, View<Out, 2>(expected.data(), 12, 10)).ok());
    REQUIRE(any.gather(rows, View<Out, 2>(found.data(), 12, 10)).ok());
    CHECK(std::memcmp(static_cast<const void*>(expected.data()),
                      static_cast<const void*>(found.data()), 120 * sizeof(Out)) == 0);
    ids.back() = 20;
    CHECK(any.gather(rows, View<Out, 2>(found.data(), 12, 10)).code == Code::bad_row);
    CHECK(any.gather(rows, View<Out, 2>(found.data(), 12, 9)) ==
          Status{Code::shape_mismatch, 0, 10});
  };
  check(std::int32_t{}, float{});
  check(std::int32_t{}, Bf16{});
  check(std::int32_t{}, F16{});
  check(std::int64_t{}, float{});
  check(std::int64_t{}, Bf16{});
  check(std::int64_t{}, F16{});

  AnyTable moved(std::move(any));
  CHECK(moved.num_rows() == 20);
  AnyTable other(Table<HostStore, F32Codec>::make(HostStore::make(3, 8).value(), {}, 2).value());
  other = std::move(moved);
  CHECK(other.row_width() == 5);
  std::vector<AnyTable> tiers;
  tiers.push_back(std::move(other));
  tiers.emplace_back(
      Table<HostStore, F32Codec>::make(HostStore::make(3, 8).value(), {}, 2).value());
  CHECK(tiers[0].num_rows() == 20);
  CHECK(tiers[1].num_rows() == 3);
}
