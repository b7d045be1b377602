// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A step of training for the rows of a table: planned, summed and written by the CPU's loops, and
// by a device that runs what a GPU runs.

#include <elements.hpp>
#include <engram/addressing/dedupe.hpp>
#include <engram/cuda/row_gradient.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/storage/store_view.hpp>

#include <cstring>
#include <limits>
#include <vector>

namespace row_case {

using namespace engram;

using elements::at;
using elements::random_elements;

/// Ids as words are, some of them -1, gradients, and a table with its state.
template <class T, class Row>
struct Case {
  Index tokens, columns, width, num_rows;
  std::vector<Row> rows{};
  std::vector<float> gradients{};
  std::vector<T> table{};

  Case(std::uint64_t seed, Index t, Index c, Index e, Index n)
      : tokens(t), columns(c), width(e), num_rows(n) {
    Random random(seed);
    for (Index i = 0; i < t * c; ++i)
      rows.push_back(random.below(9) == 0 ? Row{-1} : static_cast<Row>(random.zipf(n) * 7 % n));
    gradients = random_elements<float>(t * c * e, random, 512);
    table = random_elements<T>(n * e, random, 256);
  }
  Index count() const { return tokens * columns; }
};

template <class T, class Row>
struct Results {
  std::vector<Row> unique;
  std::vector<std::int32_t> scatter;
  std::vector<float> sums, state;
  std::vector<T> table;
  Index num_unique = 0, not_finite = 0, first_not_finite = -1;
};

template <class T, class Row, class Optimizer>
Results<T, Row> room(const Case<T, Row>& c, const Optimizer& optimizer) {
  Results<T, Row> r;
  r.unique.assign(at(c.count()), -7);
  r.scatter.assign(at(c.count()), -7);
  r.sums.assign(at(c.count() * c.width), 77);
  r.state.assign(at(c.num_rows * optimizer.state_width(c.width)), 0);
  r.table = c.table;
  return r;
}

/// Two steps, so that the second finds the first one's state.
inline constexpr int steps = 2;

inline RowStep step_of(int step, NonFinite non_finite) {
  return {0.125f, 0.25f, static_cast<std::uint64_t>(step), 42, non_finite};
}

template <class T, class Row, class Optimizer>
Results<T, Row> on_cpu(const Case<T, Row>& c, const Optimizer& optimizer, NonFinite non_finite) {
  Results<T, Row> r = room(c, optimizer);
  std::vector<std::byte> workspace(at(row_gradient_workspace_bytes(c.count(), c.width)));
  const View<const Row, 2> rows(c.rows.data(), c.tokens, c.columns);
  (void)plan_dedupe<Row>(rows, c.num_rows, View<Row, 1>(r.unique), View<std::int32_t, 1>(r.scatter),
                         r.num_unique, View<std::byte, 1>(workspace));
  HostStore store = HostStore::make(c.num_rows, c.width * Index{sizeof(T)}).value();
  const MutableStridedRows ref = store.mutable_ref();
  for (Index i = 0; i < c.num_rows; ++i)
    std::memcpy(ref(i).codes, static_cast<const void*>(&c.table[at(i * c.width)]),
                at(c.width) * sizeof(T));
  auto table =
      Table<HostStore, PlainCodec<T>>::make(std::move(store), PlainCodec<T>(), c.width).value();
  RowGradients<Row> found;
  for (int step = 0; step < steps; ++step) {
    (void)reduce_row_gradients(
        rows, View<const float, 2>(c.gradients.data(), c.tokens, c.columns * c.width), c.num_rows,
        View<Row, 1>(r.unique), View<float, 2>(r.sums.data(), c.count(), c.width), found,
        View<std::byte, 1>(workspace));
    (void)update_rows(table, found,
                      View<float, 2>(r.state.data(), c.num_rows, optimizer.state_width(c.width)),
                      optimizer, step_of(step, non_finite));
  }
  r.not_finite = found.not_finite;
  r.first_not_finite = found.first_not_finite;
  const StridedRows moved = table.store().ref();
  for (Index i = 0; i < c.num_rows; ++i)
    std::memcpy(static_cast<void*>(&r.table[at(i * c.width)]), moved(i).codes,
                at(c.width) * sizeof(T));
  for (Index u = r.num_unique; u < c.count(); ++u) r.unique[at(u)] = -1;
  return r;
}

/// The arrays of a case in a device's memory.
template <class T, class Row, class Memory, class Optimizer>
class OnDevice {
 public:
  OnDevice(const Case<T, Row>& c, Memory& memory, const Optimizer& optimizer, NonFinite non_finite)
      : case_(c),
        memory_(memory),
        optimizer_(optimizer),
        non_finite_(non_finite),
        room_(room(c, optimizer)),
        table_(memory.put(c.table)) {
    rows_ = DeviceView<Row, 2>(memory.put(c.rows), c.tokens, c.columns);
    gradients_ = DeviceView<float, 2>(memory.put(c.gradients), c.tokens, c.columns * c.width);
    unique_ = DeviceView<Row, 1>(memory.put(room_.unique), c.count());
    scatter_ = DeviceView<std::int32_t, 1>(memory.put(room_.scatter), c.count());
    sums_ = DeviceView<float, 2>(memory.put(room_.sums), c.count(), c.width);
    state_ =
        DeviceView<float, 2>(memory.put(room_.state), c.num_rows, optimizer.state_width(c.width));
    const Index bytes = row_sums_workspace_bytes(c.count(), c.width);
    workspace_ = DeviceView<std::byte, 1>(memory.put(std::vector<std::byte>(at(bytes))), bytes);
  }

  const DeviceView<Row, 2>& rows() const { return rows_; }
  const DeviceView<Row, 1>& unique() const { return unique_; }
  const DeviceView<std::int32_t, 1>& scatter() const { return scatter_; }
  DeviceView<float, 2>& gradients() { return gradients_; }
  DeviceView<float, 2>& sums() { return sums_; }
  DeviceView<float, 2>& state() { return state_; }
  DeviceView<std::byte, 1>& workspace() { return workspace_; }

  /// plan(*this, made): the plan of rows() into unique() and scatter().
  template <class Dev, class Plan>
  Status step(const Dev& device, Plan&& plan, const RowStep& of) {
    using Rows = StoreView<DeviceSpace, std::byte>;
    const RowShape shape{case_.num_rows, case_.width * Index{sizeof(T)}};
    const Rows rows = Rows::make(reinterpret_cast<std::byte*>(table_), shape).value();
    auto table = Table<Rows, PlainCodec<T>>::make(rows, {}, case_.width).value();
    if (Status s = plan(*this, plan_); !s.ok()) return s;
    return update_rows(device, table, plan_, gradients_, sums_, state_, optimizer_, of, workspace_);
  }
  template <class Dev, class Plan>
  Status run(const Dev& device, Plan&& plan) {
    Status status;
    for (int i = 0; i < steps && status.ok(); ++i)
      status = step(device, plan, step_of(i, non_finite_));
    return status;
  }
  Results<T, Row> results() const {
    Results<T, Row> r = room_;
    memory_.get(unique_.data(), r.unique);
    memory_.get(scatter_.data(), r.scatter);
    memory_.get(sums_.data(), r.sums);
    memory_.get(state_.data(), r.state);
    memory_.get(table_, r.table);
    std::vector<RowGradientPlan> made(1);
    memory_.get(plan_.plan, made);
    r.num_unique = made[0].num_unique;
    r.not_finite = made[0].not_finite;
    if (r.not_finite > 0)
      r.first_not_finite = static_cast<Index>(r.unique[at(made[0].first_not_finite)]);
    return r;
  }

 private:
  const Case<T, Row>& case_;
  Memory& memory_;
  Optimizer optimizer_;
  NonFinite non_finite_;
  Results<T, Row> room_;
  T* table_;
  DeviceView<Row, 2> rows_;
  DeviceView<float, 2> gradients_, sums_, state_;
  DeviceView<Row, 1> unique_;
  DeviceView<std::int32_t, 1> scatter_;
  DeviceView<std::byte, 1> workspace_;
  DeviceRowPlan<Row> plan_;
};

}  // namespace row_case
