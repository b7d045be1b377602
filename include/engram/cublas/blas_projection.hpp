// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The projection on a GPU as a matrix product of cuBLAS: rows and weights of bf16 to keys and
// values of bf16, added up in float. What cuBLAS would decide at a call is decided before, so that
// a call only launches. Needs no CUDA compiler.

#include <engram/cublas/blas_product.hpp>
#include <engram/cublas/projection_shapes.hpp>
#include <engram/cuda/runtime.hpp>

#include <algorithm>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// out[t] = e[t] weight^T + bias for one fused matrix or two. Holds views of the weights. Moves, is
/// not copied. Calls of project() may run at the same time with workspaces of their own; prepare()
/// may not beside them.
class BlasProjection {
 public:
  using input_type = Bf16;
  using output_type = Bf16;
  /// cuBLAS may add in another order for another number of tokens.
  static constexpr bool batch_invariant = false;

  /// On the current GPU, which is also that of the calls.
  ///
  /// matrices  [1] fused [(G + 1) D, M]: the keys of the branches in order, then the value; or
  ///           [2] keys [G D, M] and value [D, M]. Memory of the GPU.
  /// tokens    numbers of tokens T that calls will have, see prepare(); may be empty.
  ///
  /// Fails with shape_mismatch (before a GPU is asked), as prepare(), or with unsupported (no GPU,
  /// an old driver), out_of_memory or device.
  static Result<BlasProjection> make(View<const BlasMatrix, 1> matrices, Index branches,
                                     View<const Index, 1> tokens);

  /// Chooses cuBLAS's algorithms for calls of so many tokens. Not while a graph is captured. Those
  /// chosen before stay as they are, and so does what workspace_bytes() asked for on their behalf.
  ///
  /// Fails with invalid_config (tokens below 1), unsupported (cuBLAS has none on this GPU) or
  /// device.
  Result<void> prepare(Index tokens);

  Index input_width() const noexcept { return shape_.inputs; }
  Index output_width() const noexcept { return shape_.width; }
  Index branches() const noexcept { return shape_.branches; }
  /// What project() needs for any number of tokens prepared so far, at most 32 MiB and 256 bytes.
  Index workspace_bytes() const noexcept { return workspace_bytes_; }

  /// One or two launches on `stream`. Can be captured in a graph; a first call of each T before
  /// that, because CUDA may load a kernel when it is first launched.
  ///
  /// e          [T, M] dense, begins at a multiple of 16 bytes.
  /// segments   [T, G + 1, D] written, dense, at a multiple of 16 bytes: keys_of(), value_of().
  /// workspace  workspace_bytes(), any alignment, contents irrelevant; kept until the call is done.
  /// Status     shape_mismatch (index: the extent expected), workspace_small (index: the bytes
  ///            needed), unsupported (index 16: e or segments begin elsewhere; else the T that was
  ///            not prepared); then nothing was launched. Else what cuBLAS says.
  Status project(cudaStream_t stream, DeviceView<const Bf16, 2> e, DeviceView<Bf16, 3> segments,
                 DeviceView<std::byte, 1> workspace) const noexcept;
  /// The same on a device's stream, for DeviceLayer.
  template <class Dev>
    requires requires(const Dev& d) {
      { d.stream } -> std::convertible_to<cudaStream_t>;
    }
  Status project(const Dev& device, DeviceView<const Bf16, 2> e, DeviceView<Bf16, 3> segments,
                 DeviceView<std::byte, 1> workspace) const noexcept {
    return project(device.stream, e, segments, workspace);
  }

 private:
  /// A product that every call makes.
  struct Product {
    const Bf16* matrix;
    Index begin, outputs;  // of a token's (G + 1) D
    cublasLtMatmulDescOpaque_t operation;
    cublasLtMatrixLayoutOpaque_t weight;
  };
  /// How it is made for a number of tokens.
  struct Plan {
    Index tokens;
    cublasLtMatrixLayoutOpaque_t e;
    struct {
      cublasLtMatrixLayoutOpaque_t out;
      cublasLtMatmulAlgo_t algorithm;
    } of[2];
    std::size_t workspace;
  };

  BlasProjection() = default;

  cublasStatus_t add(const BlasMatrix& matrix, Index begin);
  cublasStatus_t choose(Plan& plan, std::size_t i);

  ProjectionShape shape_;
  BlasHandle handle_;
  std::vector<Product> products_;
  std::vector<Plan> plans_;
  Index workspace_bytes_ = 0;
};

ENGRAM_ALWAYS_INLINE Result<BlasProjection> BlasProjection::make(View<const BlasMatrix, 1> matrices,
                                                                 Index branches,
                                                                 View<const Index, 1> tokens) {
  const Result<ProjectionShape> shape = projection_shape(matrices, branches);
  if (!shape.ok()) return shape.failure();
  if (const Result<int> found = cuda_device_count(); !found.ok()) return found.failure();
  BlasProjection made;
  made.shape_ = shape.value();
  if (const cublasStatus_t s = make_blas_handle(made.handle_); s != CUBLAS_STATUS_SUCCESS)
    return blas_failure(s);
  Index begin = 0;
  for (Index i = 0; i < matrices.extent(0); ++i) {
    if (const cublasStatus_t s = made.add(matrices(i), begin); s != CUBLAS_STATUS_SUCCESS)
      return blas_failure(s);
    begin += matrices(i).weight.extent(0);
  }
  for (Index i = 0; i < tokens.extent(0); ++i)
    if (const Result<void> done = made.prepare(tokens(i)); !done.ok()) return done.failure();
  return BlasProjection(std::move(made));
}

/// cuBLAS counts columns first: to it the outputs [N, T] are weight^T [N, M] times rows [M, T].
ENGRAM_ALWAYS_INLINE cublasStatus_t BlasProjection::add(const BlasMatrix& matrix, Index begin) {
  Product product{};
  product.matrix = matrix.weight.data();
  product.begin = begin;
  product.outputs = matrix.weight.extent(0);
  cublasStatus_t s = cublasLtMatmulDescInit(&product.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  set_blas_attribute(s, product.operation, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (matrix.bias.size() != 0) {
    const void* const bias = matrix.bias.data();
    set_blas_attribute(s, product.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set_blas_attribute(s, product.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }
  if (s == CUBLAS_STATUS_SUCCESS)
    s = cublasLtMatrixLayoutInit(
        &product.weight, CUDA_R_16BF, static_cast<std::uint64_t>(shape_.inputs),
        static_cast<std::uint64_t>(product.outputs), matrix.weight.stride(0));
  products_.push_back(product);
  return s;
}

ENGRAM_ALWAYS_INLINE Result<void> BlasProjection::prepare(Index tokens) {
  if (tokens < 1)
    return fail(Code::invalid_config,
                {"projection: prepared for ", tokens, " tokens, expected at least 1"});
  if (blas_plan_for(plans_, tokens) != nullptr) return {};
  Plan plan{};
  plan.tokens = tokens;
  cublasStatus_t s =
      cublasLtMatrixLayoutInit(&plan.e, CUDA_R_16BF, static_cast<std::uint64_t>(shape_.inputs),
                               static_cast<std::uint64_t>(tokens), shape_.inputs);
  for (std::size_t i = 0; i < products_.size() && s == CUBLAS_STATUS_SUCCESS; ++i)
    s = choose(plan, i);
  if (s != CUBLAS_STATUS_SUCCESS) return blas_failure(s);
  workspace_bytes_ = std::max(workspace_bytes_, blas_workspace_bytes(plan.workspace));
  plans_.insert(blas_plan_place(plans_, tokens), plan);
  return {};
}

ENGRAM_ALWAYS_INLINE cublasStatus_t BlasProjection::choose(Plan& plan, std::size_t i) {
  Product& product = products_[i];
  auto& chosen = plan.of[i];
  cublasStatus_t s = cublasLtMatrixLayoutInit(
      &chosen.out, CUDA_R_16BF, static_cast<std::uint64_t>(product.outputs),
      static_cast<std::uint64_t>(plan.tokens), (shape_.branches + 1) * shape_.width);
  if (s != CUBLAS_STATUS_SUCCESS) return s;
  constexpr std::uint32_t rows = 16;
  const auto begin = static_cast<std::uintptr_t>(product.begin) * sizeof(Bf16);
  std::size_t workspace = 0;
  s = choose_blas_algorithm(handle_, &product.operation,
                            {&product.weight, &plan.e, &chosen.out,
                             alignment_of(product.matrix, 256), rows, alignment_of(begin, rows)},
                            chosen.algorithm, workspace);
  plan.workspace = std::max(plan.workspace, workspace);
  return s;
}

ENGRAM_ALWAYS_INLINE Status BlasProjection::project(
    cudaStream_t stream, DeviceView<const Bf16, 2> e, DeviceView<Bf16, 3> segments,
    DeviceView<std::byte, 1> workspace) const noexcept {
  if (const Status s = check_blas_call(shape_, e, segments); !s.ok()) return s;
  const Index tokens = e.extent(0);
  if (tokens == 0) return {};
  const Plan* const chosen = blas_plan_for(plans_, tokens);
  if (chosen == nullptr) return {Code::unsupported, 0, tokens};
  const Index needed = blas_workspace_bytes(chosen->workspace);
  if (workspace.size() < needed) return {Code::workspace_small, 0, needed};
  void* const scratch = blas_workspace(workspace.data(), chosen->workspace);
  const float one = 1, zero = 0;
  Plan plan = *chosen;
  for (std::size_t i = 0; i < products_.size(); ++i) {
    Product product = products_[i];
    auto& of = plan.of[i];
    Bf16* const out = segments.data() + product.begin;
    const cublasStatus_t s = cublasLtMatmul(
        handle_.get(), &product.operation, &one, product.matrix, &product.weight, e.data(), &plan.e,
        &zero, out, &of.out, out, &of.out, &of.algorithm, scratch, plan.workspace, stream);
    if (s != CUBLAS_STATUS_SUCCESS) return blas_status(s);
  }
  return {};
}

ENGRAM_END_NAMESPACE
