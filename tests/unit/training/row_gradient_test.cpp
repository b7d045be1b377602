// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row gradients against a plain loop in double, and their bits for any number of threads.
#include <catch.hpp>
#include <engram/training/row_gradient.hpp>
#include <random.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <thread>
#include <vector>

using namespace engram;

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Rows as words are, some of them -1, and gradients.
struct Step {
  Index tokens, columns, width;
  std::vector<std::int32_t> rows{};
  std::vector<float> gradients{};

  Step(Index t, Index c, Index e, Index num_rows, std::uint64_t seed)
      : tokens(t), columns(c), width(e) {
    Random random(seed);
    for (Index i = 0; i < t; ++i) {
      const bool none = random.below(9) == 0;
      for (Index k = 0; k < c; ++k) {
        const double u = static_cast<double>(random.bits() >> 11) * 0x1p-53;
        const auto rank = static_cast<Index>(std::pow(static_cast<double>(num_rows), u)) - 1;
        rows.push_back(none ? -1 : static_cast<std::int32_t>(rank * 7 % num_rows));
      }
    }
    for (Index i = 0; i < t * c * e; ++i)
      gradients.push_back(
          static_cast<float>(static_cast<double>(random.bits() >> 11) * 0x1p-52 - 1));
  }
  View<const std::int32_t, 2> ids() const {
    return View<const std::int32_t, 2>(rows.data(), tokens, columns);
  }
  View<const float, 2> values() const {
    return View<const float, 2>(gradients.data(), tokens, columns * width);
  }
};

struct Reduced {
  std::vector<std::int32_t> unique;
  std::vector<float> sums;
  Index count = -1;
  std::pair<Index, Index> not_finite{};
  Status status;
  bool operator==(const Reduced& o) const {
    return count == o.count && unique == o.unique && sums.size() == o.sums.size() &&
           (sums.empty() || std::memcmp(sums.data(), o.sums.data(), sums.size() * 4) == 0);
  }
};

Reduced reduce(const Step& step, Index num_rows, Index threads = 1) {
  Reduced r;
  r.unique.assign(step.rows.size(), -7);
  r.sums.assign(step.gradients.size(), 77.0f);
  const auto count = static_cast<Index>(step.rows.size());
  std::vector<std::byte> workspace(at(row_gradient_workspace_bytes(count, step.width)));
  Barrier barrier;
  std::vector<Status> statuses(at(threads));
  std::vector<RowGradients<std::int32_t>> found(at(threads));
  const auto work = [&](Index i) {
    statuses[at(i)] =
        reduce_row_gradients(step.ids(), step.values(), num_rows, View<std::int32_t, 1>(r.unique),
                             View<float, 2>(r.sums.data(), count, step.width), found[at(i)],
                             View<std::byte, 1>(workspace), CpuDevice{{i, threads}, &barrier});
  };
  std::vector<std::thread> others;
  for (Index i = 1; i < threads; ++i) others.emplace_back(work, i);
  work(0);
  for (std::thread& t : others) t.join();
  r.status = statuses[0];
  r.count = found[0].rows.extent(0);
  r.not_finite = {found[0].not_finite, found[0].first_not_finite};
  CHECK(found[0].rows.data() == r.unique.data());
  CHECK(found[0].sums.data() == r.sums.data());
  for (Index i = 1; i < threads; ++i) {
    CHECK(statuses[at(i)].ok() == r.status.ok());
    CHECK(found[at(i)].rows.extent(0) == r.count);
    CHECK(found[at(i)].first_not_finite == r.not_finite.second);
  }
  return r;
}

}  // namespace

TEST_CASE("row gradients are summed by row, rows ascending") {
  for (const Index width : {Index{1}, Index{7}, Index{32}, Index{64}, Index{80}}) {
    const Step step(700, 3, width, 500, static_cast<std::uint64_t>(width));
    const Reduced r = reduce(step, 500);
    REQUIRE(r.status.ok());
    std::map<std::int32_t, std::vector<double>> expected;
    for (Index i = 0; i < 700 * 3; ++i) {
      if (step.rows[at(i)] < 0) continue;
      std::vector<double>& sum = expected[step.rows[at(i)]];
      sum.resize(at(width));
      for (Index d = 0; d < width; ++d) sum[at(d)] += step.gradients[at(i * width + d)];
    }
    REQUIRE(r.count == static_cast<Index>(expected.size()));
    Index u = 0;
    double worst = 0;
    for (const auto& [row, sum] : expected) {
      CHECK(r.unique[at(u)] == row);
      for (Index d = 0; d < width; ++d)
        worst = std::fmax(worst, std::fabs(sum[at(d)] - double{r.sums[at(u * width + d)]}));
      ++u;
    }
    CHECK(worst < 2e-5);
    for (Index i = u; i < 700 * 3; ++i) REQUIRE(r.unique[at(i)] == -7);
  }
}

TEST_CASE("row gradients have the same bits for any number of threads") {
  for (const Index num_rows : {Index{1}, Index{3}, Index{200}, Index{100000}}) {
    const Step step(600, 4, 33, num_rows, 4);
    const Reduced one = reduce(step, num_rows);
    REQUIRE(one.status.ok());
    for (const Index threads : {2, 3, 7}) CHECK(reduce(step, num_rows, threads) == one);
  }
}

TEST_CASE("a row's places are added in chunks of 64, then the chunks in order") {
  Step step(200, 1, 1, 1, 1);
  for (std::int32_t& row : step.rows) row = 0;
  const Reduced r = reduce(step, 1);
  float total = 0;
  for (std::size_t begin = 0; begin < 200; begin += 64) {
    float sum = step.gradients[begin];
    for (std::size_t i = begin + 1; i < begin + 64 && i < 200; ++i) sum += step.gradients[i];
    total = begin == 0 ? sum : sum + total;
  }
  CHECK(r.count == 1);
  CHECK(r.sums[0] == total);
}

TEST_CASE("row gradients without rows, and refusals that write nothing") {
  Step step(4, 2, 3, 10, 8);
  Step none = step;
  for (std::int32_t& row : none.rows) row = -1;
  CHECK(reduce(none, 10).count == 0);
  CHECK(reduce(Step(0, 2, 3, 10, 1), 10).count == 0);

  std::vector<std::int32_t> unique(8, -7);
  std::vector<float> sums(24, 77.0f);
  RowGradients<std::int32_t> found;
  std::vector<std::byte> workspace(at(row_gradient_workspace_bytes(8, 3)));
  const auto is = [&](Status status, Code code, Index index) {
    CHECK(status == Status{code, 0, index});
    CHECK(unique == std::vector<std::int32_t>(8, -7));
    CHECK(sums == std::vector<float>(24, 77.0f));
    CHECK(found.rows.data() == nullptr);
  };
  const View<std::int32_t, 1> to_unique(unique);
  const View<float, 2> to_sums(sums.data(), 8, 3);
  const View<std::byte, 1> bytes(workspace);
  is(reduce_row_gradients(step.ids(), step.values().slice(0, 3), 10, to_unique, to_sums, found,
                          bytes),
     Code::shape_mismatch, 4);
  is(reduce_row_gradients(step.ids(), View<const float, 2>(step.gradients.data(), 4, 5), 10,
                          to_unique, to_sums, found, bytes),
     Code::shape_mismatch, 6);
  is(reduce_row_gradients(step.ids(), step.values(), 10, to_unique.slice(0, 7), to_sums, found,
                          bytes),
     Code::shape_mismatch, 8);
  is(reduce_row_gradients(step.ids(), step.values(), 10, to_unique, to_sums, found,
                          bytes.slice(0, bytes.size() - 1)),
     Code::workspace_small, bytes.size());
  step.rows[5] = 10;
  is(reduce_row_gradients(step.ids(), step.values(), 10, to_unique, to_sums, found, bytes),
     Code::bad_row, 5);
  is(reduce_row_gradients(step.ids(), step.values(), 10, to_unique, to_sums, found, bytes,
                          CpuDevice{{1, 1}, nullptr}),
     Code::invalid_config, -1);
}

TEST_CASE("sums that are not finite are counted, and the lowest row is named") {
  Step step(300, 2, 40, 20, 3);
  const auto spoil = [&](Index place, float with) {
    step.gradients[at(place * 40 + 39)] = with;
    return step.rows[at(place)];
  };
  CHECK(reduce(step, 20).not_finite == std::pair<Index, Index>{0, -1});
  std::vector<std::int32_t> bad;
  for (Index place = 0; place < 600 && bad.size() < 3; place += 7)
    if (step.rows[at(place)] >= 0 &&
        std::find(bad.begin(), bad.end(), step.rows[at(place)]) == bad.end())
      bad.push_back(spoil(place, bad.empty() ? std::nanf("") : INFINITY));
  const Index lowest = *std::min_element(bad.begin(), bad.end());
  for (const Index threads : {1, 4})
    CHECK(reduce(step, 20, threads).not_finite == std::pair<Index, Index>{3, lowest});
}
