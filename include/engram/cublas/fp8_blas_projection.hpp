// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// DeepSeek-V4.1's projection as a product of fp8 by cuBLAS, weights as they are stored: on GPUs
// that apply a scale to each 32 elements themselves (Blackwell). Elsewhere make() says unsupported,
// and decode_weights() with QuantisedProjection over BlasProjection computes the same but for the
// order of the sums.

#include <engram/core/workspace.hpp>
#include <engram/cublas/blas_product.hpp>
#include <engram/cublas/projection_shapes.hpp>
#include <engram/cuda/runtime.hpp>
#include <engram/cuda/scale_tiles.hpp>

#include <algorithm>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// A matrix of fp8 weights, not owned; memory of the GPU.
struct Fp8BlasMatrix {
  DeviceView<const E4m3, 2> codes;   ///< [(G + 1) D, M], at multiples of 16 bytes, also rows
  DeviceView<const E8m0, 1> scales;  ///< what tile_scales() wrote, at a multiple of 16 bytes
};

/// Rows are quantised in each call, and multiplied as codes. Holds views of the weights. Moves, is
/// not copied. Calls of project() may run at the same time with workspaces of their own; prepare()
/// may not beside them.
class Fp8BlasProjection {
 public:
  using input_type = Bf16;
  using output_type = Bf16;
  /// cuBLAS may add in another order for another number of tokens.
  static constexpr bool batch_invariant = false;

  /// On the current GPU, which is also that of the calls.
  ///
  /// matrix  the keys of the branches in order, then the value; D and M multiples of 32.
  /// tokens  numbers of tokens T that calls will have, see prepare(); may be empty.
  ///
  /// Fails with shape_mismatch, or unsupported with index 16 (codes, their rows or scales do not
  /// begin at multiples of 16 bytes), both before a GPU is asked; as prepare(); with unsupported
  /// (no GPU or one before Blackwell, an old driver, a cuBLAS before 12.8), out_of_memory or
  /// device.
  static Result<Fp8BlasProjection> make(const Fp8BlasMatrix& matrix, Index branches,
                                        View<const Index, 1> tokens);

  /// Chooses cuBLAS's algorithm for calls of so many tokens. Not while a graph is captured.
  ///
  /// Fails with invalid_config (tokens below 1), unsupported (this GPU has no block scales) or
  /// device.
  Result<void> prepare(Index tokens);

  Index input_width() const noexcept { return shape_.inputs; }
  Index output_width() const noexcept { return shape_.width; }
  Index branches() const noexcept { return shape_.branches; }
  /// What project() needs for any number of tokens prepared so far.
  Index workspace_bytes() const noexcept { return workspace_bytes_; }

  /// Two launches on the device's stream. Can be captured in a graph; a first call of each T before
  /// that, because CUDA may load a kernel when it is first launched.
  ///
  /// e          [T, M] dense, begins at a multiple of 16 bytes.
  /// segments   [T, G + 1, D] written, dense, at a multiple of 16 bytes: keys_of(), value_of().
  /// workspace  workspace_bytes(), any alignment, contents irrelevant; kept until the call is done.
  /// Status     as BlasProjection::project().
  template <KernelDevice Dev>
  ENGRAM_HIDDEN Status project(const Dev& device, DeviceView<const Bf16, 2> e,
                               DeviceView<Bf16, 3> segments,
                               DeviceView<std::byte, 1> workspace) const noexcept {
    if (const Status s = check_blas_call(shape_, e, segments); !s.ok()) return s;
    const Index tokens = e.extent(0);
    if (tokens == 0) return {};
    const Plan* const plan = blas_plan_for(plans_, tokens);
    if (plan == nullptr) return {Code::unsupported, 0, tokens};
    const Index needed = bytes_of(*plan);
    if (workspace.size() < needed) return {Code::workspace_small, 0, needed};
    Workspace memory(workspace.for_body());
    const ScaleTiles layout = tiles_of(tokens);
    const DeviceView<E4m3, 2> codes(memory.take<E4m3>(tokens * shape_.inputs), tokens,
                                    shape_.inputs);
    const DeviceView<E8m0, 1> scales(memory.take<E8m0>(layout.bytes()), layout.bytes());
    const Index wanted = blas_workspace_bytes(plan->workspace);
    void* const scratch = blas_workspace(memory.take<std::byte>(wanted), plan->workspace);
    if (Status s = quantise_codes(device, e, codes, scales); !s.ok()) return s;
    return blas_status(
        multiply(*plan, codes, scales.data(), segments.data(), scratch, device.stream));
  }

 private:
  /// How the product is made for a number of tokens.
  struct Plan {
    Index tokens;
    cublasLtMatrixLayoutOpaque_t rows, out;
    cublasLtMatmulAlgo_t algorithm;
    std::size_t workspace;
  };

  Fp8BlasProjection() = default;

  ScaleTiles tiles_of(Index tokens) const noexcept { return {tokens, shape_.inputs / 32}; }
  Index bytes_of(const Plan& plan) const noexcept {
    return static_cast<Index>(
        Workspace::bytes_for<E4m3>(plan.tokens * shape_.inputs) +
        Workspace::bytes_for<E8m0>(tiles_of(plan.tokens).bytes()) +
        Workspace::bytes_for<std::byte>(blas_workspace_bytes(plan.workspace)));
  }
  cublasStatus_t describe(const E8m0* scales);
  cublasStatus_t multiply(Plan plan, DeviceView<const E4m3, 2> codes, const E8m0* scales, Bf16* out,
                          void* workspace, cudaStream_t stream) const noexcept {
    cublasLtMatmulDescOpaque_t operation = operation_;
    cublasLtMatrixLayoutOpaque_t weight = weight_;
    const void* const of_rows = scales;
    cublasStatus_t s = CUBLAS_STATUS_SUCCESS;
    set_blas_attribute(s, operation, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, of_rows);
    if (s != CUBLAS_STATUS_SUCCESS) return s;
    const float one = 1, zero = 0;
    return cublasLtMatmul(handle_.get(), &operation, &one, codes_, &weight, codes.data(),
                          &plan.rows, &zero, out, &plan.out, out, &plan.out, &plan.algorithm,
                          workspace, plan.workspace, stream);
  }

  ProjectionShape shape_;
  BlasHandle handle_;
  const E4m3* codes_ = nullptr;
  cublasLtMatmulDescOpaque_t operation_;
  cublasLtMatrixLayoutOpaque_t weight_;
  std::vector<Plan> plans_;
  Index workspace_bytes_ = 0;
};

ENGRAM_BEGIN_LOOPS

/// Fails with unsupported unless the current GPU, and the cuBLAS that the program loaded, know
/// scales of 32 elements: what cuBLAS itself answers differs by version.
inline Result<void> check_block_scales() {
  int gpu = 0, major = 0;
  cudaError_t error = cudaGetDevice(&gpu);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, gpu);
  if (error != cudaSuccess) return cuda_failure("projection", error);
  if (major < 10)
    return fail(Code::unsupported,
                {"projection: scales of 32 elements need a GPU of compute capability 10 or above, "
                 "this one has ",
                 major});
  const auto version = static_cast<Index>(cublasLtGetVersion());
  if (version < 120800)
    return fail(Code::unsupported,
                {"projection: scales of 32 elements need cuBLAS 12.8 or newer, this is ",
                 version / 10000, ".", version / 100 % 100});
  return {};
}

ENGRAM_END_LOOPS

ENGRAM_ALWAYS_INLINE Result<Fp8BlasProjection> Fp8BlasProjection::make(
    const Fp8BlasMatrix& matrix, Index branches, View<const Index, 1> tokens) {
  const Index outputs = matrix.codes.extent(0), inputs = matrix.codes.extent(1);
  if (branches < 1 || outputs < 1 || inputs < 1 || outputs % ((branches + 1) * 32) != 0 ||
      inputs % 32 != 0)
    return fail(Code::shape_mismatch, {"projection: codes [", outputs, ", ", inputs,
                                       "], expected [(G + 1) D, M], D and M multiples of 32, for ",
                                       branches, " branches"});
  const Index bytes = ScaleTiles{outputs, inputs / 32}.bytes();
  if (matrix.scales.extent(0) != bytes)
    return fail(Code::shape_mismatch,
                {"projection: ", matrix.scales.extent(0), " scales in tiles, expected ", bytes},
                bytes);
  const Index stride = matrix.codes.stride(0);
  if (stride < inputs)
    return fail(
        Code::shape_mismatch,
        {"projection: rows of codes are ", stride, " elements apart, expected at least ", inputs},
        inputs);
  if ((reinterpret_cast<std::uintptr_t>(matrix.codes.data()) |
       reinterpret_cast<std::uintptr_t>(matrix.scales.data())) %
              16 !=
          0 ||
      stride % 16 != 0)
    return fail(Code::unsupported,
                {"projection: codes, their rows and scales begin at multiples of 16 bytes"}, 16);
  if (const Result<int> found = cuda_device_count(); !found.ok()) return found.failure();
  if (const Result<void> known = check_block_scales(); !known.ok()) return known.failure();
  Fp8BlasProjection made;
  made.shape_ = {inputs, outputs / (branches + 1), branches};
  made.codes_ = matrix.codes.data();
  cublasStatus_t s = make_blas_handle(made.handle_);
  if (s == CUBLAS_STATUS_SUCCESS) s = made.describe(matrix.scales.data());
  if (s == CUBLAS_STATUS_SUCCESS)
    s = cublasLtMatrixLayoutInit(&made.weight_, CUDA_R_8F_E4M3, static_cast<std::uint64_t>(inputs),
                                 static_cast<std::uint64_t>(outputs), stride);
  if (s != CUBLAS_STATUS_SUCCESS) return blas_failure(s);
  for (Index i = 0; i < tokens.extent(0); ++i)
    if (const Result<void> done = made.prepare(tokens(i)); !done.ok()) return done.failure();
  return Fp8BlasProjection(std::move(made));
}

/// cuBLAS counts columns first: to it the outputs [N, T] are weight^T [N, M] times rows [M, T].
ENGRAM_ALWAYS_INLINE cublasStatus_t
Fp8BlasProjection::describe([[maybe_unused]] const E8m0* scales) {
#if CUBLAS_VERSION >= 120800
  cublasStatus_t s = cublasLtMatmulDescInit(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  const auto each_32 = static_cast<std::int32_t>(CUBLASLT_MATMUL_MATRIX_SCALE_VEC32_UE8M0);
  const void* const of_weights = scales;
  set_blas_attribute(s, operation_, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  set_blas_attribute(s, operation_, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, each_32);
  set_blas_attribute(s, operation_, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, each_32);
  set_blas_attribute(s, operation_, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, of_weights);
  set_blas_attribute(s, operation_, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER,
                     of_weights);  // until a call has its own
  return s;
#else
  return CUBLAS_STATUS_NOT_SUPPORTED;
#endif
}

ENGRAM_ALWAYS_INLINE Result<void> Fp8BlasProjection::prepare(Index tokens) {
  if (tokens < 1)
    return fail(Code::invalid_config,
                {"projection: prepared for ", tokens, " tokens, expected at least 1"});
  if (blas_plan_for(plans_, tokens) != nullptr) return {};
  Plan plan{};
  plan.tokens = tokens;
  const auto columns = static_cast<std::uint64_t>(tokens);
  const Index outputs = (shape_.branches + 1) * shape_.width;
  cublasStatus_t s =
      cublasLtMatrixLayoutInit(&plan.rows, CUDA_R_8F_E4M3,
                               static_cast<std::uint64_t>(shape_.inputs), columns, shape_.inputs);
  if (s == CUBLAS_STATUS_SUCCESS)
    s = cublasLtMatrixLayoutInit(&plan.out, CUDA_R_16BF, static_cast<std::uint64_t>(outputs),
                                 columns, outputs);
  if (s == CUBLAS_STATUS_SUCCESS)
    s = choose_blas_algorithm(
        handle_, &operation_,
        {&weight_, &plan.rows, &plan.out, alignment_of(codes_, 256), Workspace::alignment, 16},
        plan.algorithm, plan.workspace);
  if (s != CUBLAS_STATUS_SUCCESS) return blas_failure(s);
  workspace_bytes_ = std::max(workspace_bytes_, bytes_of(plan));
  plans_.insert(blas_plan_place(plans_, tokens), plan);
  return {};
}

ENGRAM_END_NAMESPACE
