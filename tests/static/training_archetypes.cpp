// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The poorest types that fit the policy families of training, composed; compiling is the test.
#include <engram/engram.hpp>
#include <engram/training/layer_training.hpp>
#include <engram/training/row_update.hpp>

using namespace engram;

namespace bare {

struct Gate {
  float operator()(float) const { return 1; }
  float slope(float) const { return 0; }
};

struct Projection {
  using input_type = Bf16;
  using output_type = F16;
  static constexpr bool batch_invariant = false;
  Index input_width() const { return 8; }
  Index output_width() const { return 4; }
  Index branches() const { return 1; }
  Index tiles() const { return 1; }
  void project(View<const Bf16, 2>, int, Index, View<F16, 2>) const {}
};

struct Gradient {
  using input_type = Bf16;
  Index input_width() const { return 8; }
  Index output_width() const { return 4; }
  Index branches() const { return 1; }
  Index weight_tiles() const { return 1; }
  void inputs(View<const float, 3>, View<float, 2>) const {}
  void weights(View<const Bf16, 2>, View<const float, 3>, Index, const LayerGradients&) const {}
};

struct Optimizer {
  Index state_width(Index) const { return 0; }
  int begin(const auto&, const float*, float*, Index) const { return 0; }
  auto direction(const auto& lanes, int, const float*, float*, Index, Index) const {
    return lanes.all(1);
  }
};

struct Store {
  using space_type = HostSpace;
  std::byte* bytes = nullptr;
  struct Ref {
    std::byte* bytes;
    RowBytes operator()(Index row) const { return {bytes + 32 * row, nullptr}; }
  };
  struct MutableRef {
    std::byte* bytes;
    MutableRowBytes operator()(Index row) const { return {bytes + 32 * row, nullptr}; }
  };
  Index num_rows() const { return 1; }
  Index row_bytes() const { return 32; }
  Index scale_bytes() const { return 0; }
  Ref ref() const { return {bytes}; }
  MutableRef mutable_ref() { return {bytes}; }
};

}  // namespace bare

static_assert(check_differentiable_gate<bare::Gate>());
static_assert(check_projection_gradient<bare::Gradient>());
static_assert(check_row_optimizer<bare::Optimizer>());
static_assert(!DifferentiableGate<float (*)(float)>);
static_assert(!ProjectionGradient<bare::Projection> && !ProjectionGradient<bare::Gate>);
static_assert(!RowOptimizer<bare::Gate> && !RowOptimizer<int>);

Status train_bare(AnyTable& any, Table<bare::Store, F32Codec>& table, View<const int, 2> rows,
                  View<F16, 3> hidden, View<float, 3> updated, View<float, 2> to_rows,
                  View<std::byte, 1> bytes, View<int, 1> unique);
Status train_bare(AnyTable& any, Table<bare::Store, F32Codec>& table, View<const int, 2> rows,
                  View<F16, 3> hidden, View<float, 3> updated, View<float, 2> to_rows,
                  View<std::byte, 1> bytes, View<int, 1> unique) {
  const bare::Projection projection;
  const EngramLayer layer(any, projection, {}, {}, bare::Gate());
  const LayerTraining training(layer, bare::Gradient());
  if (const Result<void> parts = training.check(); !parts.ok()) return parts.status();
  if (Status s = training.forward(rows, hidden, hidden, bytes); !s.ok()) return s;
  if (Status s = training.backward(hidden, updated, updated, to_rows, {}, bytes, bytes); !s.ok())
    return s;
  RowGradients<int> found;
  if (Status s = reduce_row_gradients(rows, View<const float, 2>(to_rows), table.num_rows(), unique,
                                      to_rows, found, bytes);
      !s.ok())
    return s;
  return update_rows(table, found, {}, bare::Optimizer(), RowStep());
}
