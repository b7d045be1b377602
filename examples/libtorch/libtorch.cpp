// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A memory layer as a torch::autograd::Function: torch owns the tensors and drives training, this
// library computes forward and backward, and the table's gradient is a sparse tensor of the rows
// that were read. The gradients are compared with those of the same module written in torch.

#include <engram/addressing/multipliers.hpp>
#include <engram/codec/plain.hpp>
#include <engram/layer/reference_projection.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/training/layer_training.hpp>
#include <engram/training/reference_projection_gradient.hpp>
#include <engram/training/row_gradient.hpp>

#include <torch/torch.h>

using namespace engram;
using torch::Tensor;
using torch::autograd::AutogradContext;

/// Rows in a tensor [R, E] that torch owns.
struct TensorStore {
  using space_type = HostSpace;
  Tensor rows;
  Index num_rows() const { return rows.size(0); }
  Index row_bytes() const { return rows.size(1) * 4; }
  Index scale_bytes() const { return 0; }
  StridedRows ref() const {
    return {static_cast<const std::byte*>(rows.const_data_ptr()), row_bytes()};
  }
};

template <class T = float>
View<T, 2> matrix(const Tensor& t) {
  return View<T, 2>(t.data_ptr<std::remove_const_t<T>>(), t.size(0), t.size(1));
}
template <class T = float>
View<T, 3> cube(const Tensor& t) {
  return View<T, 3>(t.data_ptr<std::remove_const_t<T>>(), t.size(0), t.size(1), t.size(2));
}
Tensor bytes(Index count) { return torch::empty({count}, torch::kUInt8); }
View<std::byte, 1> scratch(const Tensor& t) {
  return View<std::byte, 1>(static_cast<std::byte*>(t.data_ptr()), t.numel());
}
void must(Status status, const char* call) { TORCH_CHECK(status.ok(), describe(status, call)); }

/// The layer over torch's tensors: table [R, E], key [G, D, M], value [D, M].
struct Module {
  ProjectionWeights<float> weights;
  Table<TensorStore, F32Codec> table;
  ReferenceProjection<float> projection;

  Module(const Tensor& rows, const Tensor& key, const Tensor& value)
      : weights{cube<const float>(key), matrix<const float>(value), {}, {}},
        table(Table<TensorStore, F32Codec>::make({rows}, {}, rows.size(1)).value()),
        projection(ReferenceProjection<float>::make(weights).value()) {}
  auto training() const {
    return LayerTraining(EngramLayer(table, projection, {}, {}),
                         ReferenceProjectionGradient<float>::make(weights).value());
  }
};

struct Engram : torch::autograd::Function<Engram> {
  static Tensor forward(AutogradContext* context, Tensor hidden, Tensor rows, Tensor table,
                        Tensor key, Tensor value) {
    const Module module(table, key, value);
    const Tensor out = torch::empty_like(hidden);
    const Tensor tape = bytes(module.training().tape_bytes(hidden.size(0)));
    must(module.training().forward(matrix<const std::int64_t>(rows), cube<const float>(hidden),
                                   cube(out), scratch(tape)),
         "forward");
    context->save_for_backward({hidden, rows, table, key, value, tape});
    return out;
  }
  static torch::autograd::variable_list backward(AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    const auto saved = context->get_saved_variables();
    const Tensor &hidden = saved[0], &rows = saved[1], &table = saved[2];
    const Module module(table, saved[3], saved[4]);
    const Tensor to_hidden = torch::empty_like(hidden), to_key = torch::zeros_like(saved[3]),
                 to_value = torch::zeros_like(saved[4]),
                 to_e = torch::empty({rows.size(0), rows.size(1) * table.size(1)});
    LayerGradients to;
    to.key = cube(to_key);
    to.value = matrix(to_value);
    must(module.training().backward(
             cube<const float>(hidden), cube<const float>(upstream[0].contiguous()),
             cube(to_hidden), matrix(to_e), to, scratch(saved[5]),
             scratch(bytes(module.training().workspace_bytes(rows.size(0))))),
         "backward");
    const Tensor unique = torch::empty({rows.numel()}, torch::kInt64);
    const Tensor sums = torch::empty({rows.numel(), table.size(1)});
    Index found = 0;
    must(reduce_row_gradients(
             matrix<const std::int64_t>(rows), matrix<const float>(to_e), table.size(0),
             View<std::int64_t, 1>(unique.data_ptr<std::int64_t>(), unique.numel()), matrix(sums),
             found, scratch(bytes(row_gradient_workspace_bytes(rows.numel(), table.size(1))))),
         "reduce_row_gradients");
    const Tensor to_table = torch::sparse_coo_tensor(unique.slice(0, 0, found).unsqueeze(0),
                                                     sums.slice(0, 0, found), table.sizes());
    return {to_hidden, Tensor(), to_table, to_key, to_value};
  }
};

/// The same in torch's own operations.
Tensor in_torch(const Tensor& hidden, const Tensor& rows, const Tensor& table, const Tensor& key,
                const Tensor& value) {
  const auto normalised = [](const Tensor& x) { return x * x.square().mean(-1, true).rsqrt(); };
  const Tensor e = table.index({rows}).flatten(1);
  const Tensor keys = torch::einsum("tm,gdm->tgd", {e, key});
  const Tensor score =
      (normalised(hidden) * normalised(keys)).sum(-1) / std::sqrt(double(hidden.size(2)));
  const Tensor gate = (score.sign() * score.abs().clamp_min(1e-6).sqrt()).sigmoid();
  return hidden + gate.unsqueeze(-1) * e.matmul(value.t()).unsqueeze(1);
}

int main() {
  torch::manual_seed(1);
  const Tensor rows = torch::randint(0, 50, {40, 4}), upstream = torch::randn({40, 2, 32});
  std::vector<Tensor> ours, theirs;
  for (const auto& shape :
       std::vector<std::vector<std::int64_t>>{{40, 2, 32}, {50, 8}, {2, 32, 32}, {32, 32}}) {
    ours.push_back(torch::randn(shape).requires_grad_());
    theirs.push_back(ours.back().detach().clone().requires_grad_());
  }
  const Tensor a = Engram::apply(ours[0], rows, ours[1], ours[2], ours[3]);
  const Tensor b = in_torch(theirs[0], rows, theirs[1], theirs[2], theirs[3]);
  (a * upstream).sum().backward();
  (b * upstream).sum().backward();
  bool same = torch::allclose(a, b, 1e-4, 1e-5);
  const char* names[] = {"hidden", "table", "key", "value"};
  for (std::size_t i = 0; i < 4; ++i) {
    const Tensor mine = ours[i].grad().is_sparse() ? ours[i].grad().to_dense() : ours[i].grad();
    const double apart = (mine - theirs[i].grad()).abs().max().item<double>();
    const double largest = theirs[i].grad().abs().max().item<double>();
    std::printf("gradient of %-6s differs by %.1e of at most %.1e\n", names[i], apart, largest);
    same = same && apart <= 1e-4 * largest;
  }
  std::printf("outputs and gradients: %s\n", same ? "those of torch" : "DIFFERENT");
  return same ? 0 : 1;
}
