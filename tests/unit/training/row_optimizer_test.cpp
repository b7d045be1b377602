// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row optimizers against their formulas in double; what is not touched stays; the random rounding
// of bf16; refusals that write nothing.
#include <catch.hpp>
#include <contains.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/storage/store_view.hpp>
#include <engram/training/row_update.hpp>
#include <random.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

using namespace engram;

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

float uniform(Random& random) {
  return static_cast<float>(static_cast<double>(random.bits() >> 11) * 0x1p-52 - 1);
}

/// A table with what its optimizer remembers.
template <Element T>
struct Trained {
  using TableType = Table<HostStore, PlainCodec<T>>;
  Index width;
  TableType table;
  std::vector<float> state;
  Index state_width;

  Trained(Index rows, Index w, Index s, std::uint64_t seed)
      : width(w),
        table(TableType::make(HostStore::make(rows, w * Index{sizeof(T)}).value(), {}, w).value()),
        state(at(rows * s)),
        state_width(s) {
    Random random(seed);
    for (Index r = 0; r < rows; ++r)
      for (Index d = 0; d < w; ++d) row(r)[d] = from_float<T>(uniform(random));
  }
  T* row(Index r) { return reinterpret_cast<T*>(table.store().mutable_ref()(r).codes); }
  View<float, 2> states() { return View<float, 2>(state.data(), table.num_rows(), state_width); }
  std::vector<float> rows() {
    std::vector<float> all;
    for (Index r = 0; r < table.num_rows(); ++r)
      for (Index d = 0; d < width; ++d) all.push_back(to_float(row(r)[d]));
    return all;
  }
};

template <Element T, class Optimizer>
Status update(Trained<T>& t, const std::vector<std::int64_t>& unique,
              const std::vector<float>& sums, const Optimizer& optimizer, const RowStep& step,
              Index threads = 1) {
  RowGradients<std::int64_t> found;
  found.rows = View<const std::int64_t, 1>(unique);
  found.sums = View<const float, 2>(sums.data(), found.rows.size(), t.width);
  for (Index u = 0; u < found.rows.size(); ++u) {
    bool finite = true;
    for (Index d = 0; d < t.width; ++d) finite = finite && std::isfinite(found.sums(u, d));
    if (!finite && found.not_finite++ == 0) found.first_not_finite = unique[at(u)];
  }
  Barrier barrier;
  std::vector<Status> statuses(at(threads));
  const auto work = [&](Index i) {
    statuses[at(i)] =
        update_rows(t.table, found, t.states(), optimizer, step, CpuDevice{{i, threads}, &barrier});
  };
  std::vector<std::thread> others;
  for (Index i = 1; i < threads; ++i) others.emplace_back(work, i);
  work(0);
  for (std::thread& thread : others) thread.join();
  for (const Status& status : statuses) CHECK(status == statuses[0]);
  return statuses[0];
}

std::vector<float> gradients(Index count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> g(at(count));
  for (float& x : g) x = uniform(random);
  return g;
}

}  // namespace

TEST_CASE("row optimizers follow their formulas, step by step") {
  constexpr Index rows = 9;
  for (const Index width : {Index{1}, Index{5}, Index{64}}) {
    Trained<float> sgd(rows, width, 0, 1), adagrad(rows, width, 1, 1),
        adam(rows, width, LazyAdam{}.state_width(width), 1);
    const std::vector<float> start = sgd.rows();
    std::vector<double> sgd_row(start.begin(), start.end()), adagrad_row(sgd_row),
        adam_row(sgd_row);
    std::vector<double> squares(at(rows)), m(at(rows * width)), v(m), steps(squares);
    const double b1 = double{0.9f}, b2 = double{0.999f}, eps = double{1e-8f};
    for (std::uint64_t s = 0; s < 6; ++s) {
      std::vector<std::int64_t> unique;
      for (Index r = 0; r < rows; ++r)
        if ((r + static_cast<Index>(s)) % 3 != 0 && r != 4) unique.push_back(r);
      const auto g = gradients(static_cast<Index>(unique.size()) * width, s + 5);
      const RowStep step{.rate = 0.125f, .decay = 0.25f, .step = s};
      REQUIRE(update(sgd, unique, g, Sgd{}, step).ok());
      REQUIRE(update(adagrad, unique, g, RowAdagrad{}, step).ok());
      REQUIRE(update(adam, unique, g, LazyAdam{}, step).ok());
      for (std::size_t u = 0; u < unique.size(); ++u) {
        const auto r = at(unique[u]);
        const float* of_row = g.data() + u * at(width);
        double mean = 0;
        for (Index d = 0; d < width; ++d) mean += double{of_row[d]} * of_row[d];
        squares[r] += mean / static_cast<double>(width);
        steps[r] += 1;
        for (Index d = 0; d < width; ++d) {
          const auto i = r * at(width) + at(d);
          const double x = of_row[d];
          const double kept = 1 - 0.125 * 0.25;
          sgd_row[i] = kept * sgd_row[i] - 0.125 * x;
          adagrad_row[i] = kept * adagrad_row[i] - 0.125 * x / (std::sqrt(squares[r]) + eps);
          m[i] = b1 * m[i] + (1 - b1) * x;
          v[i] = b2 * v[i] + (1 - b2) * x * x;
          adam_row[i] =
              kept * adam_row[i] - 0.125 * (m[i] / (1 - std::pow(b1, steps[r]))) /
                                       (std::sqrt(v[i] / (1 - std::pow(b2, steps[r]))) + eps);
        }
      }
    }
    const auto check = [&](std::vector<float> found, const std::vector<double>& expected,
                           double within) {
      double worst = 0;
      for (std::size_t i = 0; i < found.size(); ++i)
        worst = std::fmax(worst, std::fabs(found[i] - expected[i]));
      CHECK(worst < within);
      for (Index d = 0; d < width; ++d) CHECK(found[at(4 * width + d)] == start[at(4 * width + d)]);
    };
    check(sgd.rows(), sgd_row, 1e-6);
    check(adagrad.rows(), adagrad_row, 1e-6);
    check(adam.rows(), adam_row, 2e-5);  // 1 - b2 has an error of 3e-5 in float
    for (Index r = 0; r < rows; ++r) {
      CHECK(adam.states()(r, 2 * width) == static_cast<float>(steps[at(r)]));
      if (r == 4) CHECK(adagrad.state[4] == 0);
    }
  }
}

TEST_CASE("row updates have the same bits for any number of threads") {
  std::vector<std::int64_t> unique;
  for (Index r = 0; r < 100; r += 1 + r % 3) unique.push_back(r);
  const auto g = gradients(static_cast<Index>(unique.size()) * 33, 3);
  Trained<Bf16> one(100, 33, 67, 2);
  REQUIRE(update(one, unique, g, LazyAdam{}, {.rate = 0.1f, .step = 3, .seed = 4}).ok());
  for (const Index threads : {2, 3, 7}) {
    Trained<Bf16> many(100, 33, 67, 2);
    REQUIRE(
        update(many, unique, g, LazyAdam{}, {.rate = 0.1f, .step = 3, .seed = 4}, threads).ok());
    CHECK(many.rows() == one.rows());
    CHECK(many.state == one.state);
  }
}

TEST_CASE("a gradient that is not finite fails with its row and writes nothing, or is skipped") {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()})
    for (const Index threads : {1, 3}) {
      Trained<float> t(20, 35, 1, 7);
      const std::vector<std::int64_t> unique = {2, 3, 11, 19};
      auto g = gradients(4 * 35, 1);
      g[2 * 35 + 34] = bad;
      const auto rows = t.rows();
      const auto state = t.state;
      CHECK(update(t, unique, g, RowAdagrad{}, {.rate = 0.1f}, threads) ==
            Status{Code::not_finite, 0, 11});
      CHECK(t.rows() == rows);
      CHECK(t.state == state);
      RowStep step{.rate = 0.1f, .non_finite = NonFinite::skip};
      REQUIRE(update(t, unique, g, RowAdagrad{}, step, threads).ok());
      CHECK(t.state[11] == 0);
      for (Index d = 0; d < 35; ++d) {
        CHECK(t.rows()[at(11 * 35 + d)] == rows[at(11 * 35 + d)]);
        CHECK(t.rows()[at(3 * 35 + d)] != rows[at(3 * 35 + d)]);
      }
    }
  CHECK(contains(describe(Status{Code::not_finite, 0, 11}, "update_rows"),
                 "at index 11: the gradient of that row is NaN or infinite"));
}

TEST_CASE("bf16 rows are rounded at random, without bias, keyed by seed, step, row and element") {
  // A step of 1/8 of the last place of 1.0: to nearest it would be lost for good.
  const float step_size = 0x1p-7f / 8;
  const std::vector<std::int64_t> unique = {0, 1};
  constexpr Index width = 70;
  const auto after = [&](std::uint64_t seed, std::uint64_t number) {
    Trained<Bf16> t(2, width, 0, 1);
    for (Index r = 0; r < 2; ++r)
      for (Index d = 0; d < width; ++d) t.row(r)[d] = to_bf16(1.0f);
    const std::vector<float> g(2 * width, -1.0f);
    REQUIRE(update(t, unique, g, Sgd{}, {.rate = step_size, .step = number, .seed = seed}).ok());
    return t.rows();
  };
  double sum = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed)
    for (const float x : after(seed, 0)) {
      REQUIRE((x == 1.0f || x == 1.0f + 0x1p-7f));
      sum += x - 1;
    }
  const double draws = 100 * 2 * width;
  const double deviation = std::sqrt(1.0 / 8 * 7 / 8 / draws);
  CHECK(std::fabs(sum / draws / 0x1p-7 - 1.0 / 8) < 4 * deviation);
  const auto first = after(1, 1);
  CHECK(after(1, 1) == first);
  CHECK(after(2, 1) != first);
  CHECK(after(1, 2) != first);
  const auto middle = first.begin() + width;
  CHECK(std::vector<float>(first.begin(), middle) != std::vector<float>(middle, first.end()));
  CHECK(round_at_random(1.0f, 0xFFFF).bits == to_bf16(1.0f).bits);
  CHECK(round_at_random(-0.0f, 0xFFFF).bits == to_bf16(-0.0f).bits);
  CHECK(to_float(round_at_random(1.0f + 0x1p-8f, 0x7FFF)) == 1.0f);
  CHECK(to_float(round_at_random(1.0f + 0x1p-8f, 0x8000)) == 1.0f + 0x1p-7f);
  CHECK(round_at_random(std::numeric_limits<float>::infinity(), 0xFFFF).bits == 0x7F80);
}

TEST_CASE("row updates refuse what does not fit and write nothing") {
  Trained<float> t(10, 4, 1, 3);
  const auto rows = t.rows();
  const auto g = gradients(12, 2);
  const auto is = [&](Status status, Code code, Index index) {
    CHECK(status == Status{code, 0, index});
    CHECK(t.rows() == rows);
    CHECK(t.state == std::vector<float>(10));
  };
  const RowAdagrad optimizer;
  is(update(t, {1, 2, 10}, g, optimizer, {.rate = 1}), Code::bad_row, 2);
  is(update(t, {1, 1, 2}, g, optimizer, {.rate = 1}), Code::bad_row, 1);
  is(update(t, {-1, 1, 2}, g, optimizer, {.rate = 1}), Code::bad_row, 0);
  is(update(t, {1, 2, 3}, g, LazyAdam{}, {.rate = 1}), Code::shape_mismatch, 9);
  is(update(t, {1, 2, 3}, g, optimizer, {.rate = std::numeric_limits<float>::quiet_NaN()}),
     Code::invalid_config, -1);
  const std::vector<std::int64_t> three = {1, 2, 3};
  RowGradients<std::int64_t> found;
  found.rows = View<const std::int64_t, 1>(three);
  found.sums = View<const float, 2>(g.data(), 3, 3);
  is(update_rows(t.table, found, t.states(), optimizer, {.rate = 1}), Code::shape_mismatch, 4);
  found.sums = View<const float, 2>(g.data(), 2, 4);
  is(update_rows(t.table, found, t.states(), optimizer, {.rate = 1}), Code::shape_mismatch, 3);
}

TEST_CASE("row updates refuse rows that begin between two elements") {
  std::vector<std::byte> memory(64);
  const std::vector<std::int32_t> zero = {0};
  const std::vector<float> g = {1, 2};
  RowGradients<std::int32_t> found;
  found.rows = View<const std::int32_t, 1>(zero);
  found.sums = View<const float, 2>(g.data(), 1, 2);
  const auto move = [&]<class T>(T, Index begin, Index stride) {
    using Rows = StoreView<HostSpace, std::byte>;
    const Index bytes = 2 * Index{sizeof(T)};
    const Rows rows = Rows::make(memory.data() + begin, {3, bytes}, stride).value();
    auto table = Table<Rows, PlainCodec<T>>::make(rows, {}, 2).value();
    const std::vector<std::byte> before = memory;
    const Status status = update_rows(table, found, View<float, 2>(), Sgd(), {.rate = 1});
    CHECK((memory == before) == !status.ok());
    return status;
  };
  CHECK(move(0.0f, 1, 8) == Status{Code::unsupported, 0, 4});
  CHECK(move(0.0f, 2, 8) == Status{Code::unsupported, 0, 4});
  CHECK(move(0.0f, 0, 10) == Status{Code::unsupported, 0, 4});
  CHECK(move(0.0f, 4, 12).ok());
  CHECK(move(Bf16(), 1, 4) == Status{Code::unsupported, 0, 2});
  CHECK(move(Bf16(), 0, 5) == Status{Code::unsupported, 0, 2});
  CHECK(move(Bf16(), 2, 6).ok());
}
