// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A memory layer as a torch::autograd::Function: torch owns the tensors and drives training, this
// library computes forward and backward, and the table's gradient is a sparse tensor of the rows
// that were read. The gradients are compared with those of the same module written in torch.

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

/// A tensor's memory as a view.
template <int Rank, class T = float, class... Dimension>
View<T, Rank> view(const Tensor& t, Dimension... d) {
  if constexpr (sizeof...(d) < Rank)
    return view<Rank, T>(t, d..., t.size(sizeof...(d)));
  else
    return View<T, Rank>(t.data_ptr<std::remove_const_t<T>>(), d...);
}
View<std::byte, 1> memory(const Tensor& t) {
  return View<std::byte, 1>(static_cast<std::byte*>(t.data_ptr()), t.numel());
}
Tensor bytes(Index count) { return torch::empty({count}, torch::kUInt8); }
void must(Status status, const char* call) { TORCH_CHECK(status.ok(), describe(status, call)); }

/// The layer over torch's tensors: table [R, E], key [G, D, M], value [D, M].
struct Module {
  ProjectionWeights<float> weights;
  Table<TensorStore, F32Codec> table;
  ReferenceProjection<float> projection;

  Module(const Tensor& rows, const Tensor& key, const Tensor& value)
      : weights{view<3, const float>(key), view<2, const float>(value), {}, {}},
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
    const auto layer = module.training();
    const Tensor out = torch::empty_like(hidden), tape = bytes(layer.tape_bytes(hidden.size(0)));
    must(layer.forward(view<2, const std::int64_t>(rows), view<3>(hidden), view<3>(out),
                       memory(tape)));
    context->save_for_backward({hidden, rows, table, key, value, tape});
    return out;
  }
  static torch::autograd::variable_list backward(AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    const auto saved = context->get_saved_variables();
    const Tensor hidden = saved[0], rows = saved[1], table = saved[2], key = saved[3],
                 value = saved[4];
    const Index width = table.size(1);
    const Module module(table, key, value);
    const auto layer = module.training();
    const Tensor to_hidden = torch::empty_like(hidden), to_key = torch::zeros_like(key),
                 to_value = torch::zeros_like(value),
                 to_e = torch::empty({rows.size(0), rows.size(1) * width});
    LayerGradients to;
    to.key = view<3>(to_key);
    to.value = view<2>(to_value);
    must(layer.backward(view<3>(hidden), view<3>(upstream[0].contiguous()), view<3>(to_hidden),
                        view<2>(to_e), to, memory(saved[5]),
                        memory(bytes(layer.workspace_bytes(hidden.size(0))))));
    const Tensor unique = torch::empty({rows.numel()}, torch::kInt64),
                 sums = torch::empty({rows.numel(), width}),
                 workspace = bytes(row_gradient_workspace_bytes(rows.numel(), width));
    RowGradients<std::int64_t> found;
    must(reduce_row_gradients(view<2, const std::int64_t>(rows), view<2>(to_e), table.size(0),
                              view<1, std::int64_t>(unique), view<2>(sums), found,
                              memory(workspace)));
    const Index count = found.rows.size();
    const Tensor at = unique.slice(0, 0, count).unsqueeze(0);
    return {to_hidden, Tensor(),
            torch::sparse_coo_tensor(at, sums.slice(0, 0, count), table.sizes()), to_key, to_value};
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
  std::vector<Tensor> ours = {torch::randn({40, 2, 32}), torch::randn({50, 8}),
                              torch::randn({2, 32, 32}), torch::randn({32, 32})};
  std::vector<Tensor> theirs;
  for (Tensor& t : ours) theirs.push_back(t.requires_grad_().detach().clone().requires_grad_());
  const Tensor a = Engram::apply(ours[0], rows, ours[1], ours[2], ours[3]);
  const Tensor b = in_torch(theirs[0], rows, theirs[1], theirs[2], theirs[3]);
  (a * upstream).sum().backward();
  (b * upstream).sum().backward();
  bool same = torch::allclose(a, b, 1e-4, 1e-5);
  for (std::size_t i = 0; i < 4; ++i) {
    const Tensor mine = ours[i].grad().is_sparse() ? ours[i].grad().to_dense() : ours[i].grad();
    const double largest = theirs[i].grad().abs().max().item<double>();
    const double apart = (mine - theirs[i].grad()).abs().max().item<double>() / largest;
    std::printf("gradient %zu differs by %.1e of its largest element\n", i, apart);
    same = same && apart <= 1e-4;
  }
  std::printf("outputs and gradients: %s\n", same ? "those of torch" : "DIFFERENT");
  return same ? 0 : 1;
}
