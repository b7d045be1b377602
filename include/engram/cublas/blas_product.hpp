// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What every matrix product of cuBLAS needs: a handle, statuses as the library's, an algorithm
// chosen before the call, and a workspace that begins where cuBLAS wants it. Needs no CUDA
// compiler.
//
// Descriptors are kept by value. cuBLAS takes them as what it may change, so each call has copies:
// they are some hundred bytes, and calls may run at the same time. That a copy of an initialised
// descriptor is one, cuBLAS's documents do not say; cuda/projection_test.cu would show it on a
// card.

#include <engram/core/status.hpp>
#include <engram/core/view.hpp>

#include <cublasLt.h>

#include <algorithm>
#include <memory>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

struct DestroyBlasHandle {
  void operator()(cublasLtContext* handle) const noexcept { (void)cublasLtDestroy(handle); }
};
using BlasHandle = std::unique_ptr<cublasLtContext, DestroyBlasHandle>;

/// The operands of a product as cuBLAS sees them, and at multiples of how many bytes they begin.
struct BlasOperands {
  cublasLtMatrixLayout_t weight, rows, out;
  std::uint32_t weight_alignment, rows_alignment, out_alignment;
};

ENGRAM_BEGIN_LOOPS

/// The status of a cuBLAS call; system_error is its cublasStatus_t.
inline Status blas_status(cublasStatus_t status) noexcept {
  if (status == CUBLAS_STATUS_SUCCESS) return {};
  const Code code = status == CUBLAS_STATUS_ALLOC_FAILED ? Code::out_of_memory
                    : status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_ARCH_MISMATCH
                        ? Code::unsupported
                        : Code::device;
  return {code, static_cast<std::int32_t>(status)};
}

inline Failure blas_failure(cublasStatus_t status) {
  return Failure{blas_status(status),
                 sentence({"projection: cuBLAS says ", cublasLtGetStatusName(status), ", ",
                           cublasLtGetStatusString(status)})};
}

/// A handle of the current GPU.
inline cublasStatus_t make_blas_handle(BlasHandle& made) {
  cublasLtHandle_t handle = nullptr;
  const cublasStatus_t status = cublasLtCreate(&handle);
  if (status == CUBLAS_STATUS_SUCCESS) made.reset(handle);
  return status;
}

/// The largest power of two that divides a place, at most `most`.
inline std::uint32_t alignment_of(std::uintptr_t place, std::uint32_t most) noexcept {
  while (place % most != 0) most /= 2;
  return most;
}
inline std::uint32_t alignment_of(const void* place, std::uint32_t most) noexcept {
  return alignment_of(reinterpret_cast<std::uintptr_t>(place), most);
}

/// Sets an attribute of a product, unless one before was refused.
template <class T>
void set_blas_attribute(cublasStatus_t& status, cublasLtMatmulDescOpaque_t& operation,
                        cublasLtMatmulDescAttributes_t what, const T& value) {
  if (status == CUBLAS_STATUS_SUCCESS)
    status = cublasLtMatmulDescSetAttribute(&operation, what, &value, sizeof value);
}

/// Where the plan for a number of tokens stands among plans in order of their tokens, or would.
template <class Plans>
auto blas_plan_place(Plans& plans, Index tokens) noexcept {
  return std::lower_bound(plans.begin(), plans.end(), tokens,
                          [](const auto& plan, Index t) { return plan.tokens < t; });
}
/// That plan, or null.
template <class Plan>
const Plan* blas_plan_for(const std::vector<Plan>& plans, Index tokens) noexcept {
  const auto found = blas_plan_place(plans, tokens);
  return found != plans.end() && found->tokens == tokens ? &*found : nullptr;
}

/// The algorithm that cuBLAS advises, and the bytes it wants. Partial sums are kept in float, never
/// in bf16.
inline cublasStatus_t choose_blas_algorithm(const BlasHandle& handle,
                                            cublasLtMatmulDesc_t operation, const BlasOperands& of,
                                            cublasLtMatmulAlgo_t& algorithm,
                                            std::size_t& workspace) {
  constexpr std::uint64_t most_workspace = std::uint64_t{32} << 20;  // cuBLAS's advice
  cublasLtMatmulPreferenceOpaque_t preference;
  cublasStatus_t s = cublasLtMatmulPreferenceInit(&preference);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t what, const auto& value) {
    if (s == CUBLAS_STATUS_SUCCESS)
      s = cublasLtMatmulPreferenceSetAttribute(&preference, what, &value, sizeof value);
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most_workspace);
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, of.weight_alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, of.rows_alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, of.out_alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, of.out_alignment);
  if (s != CUBLAS_STATUS_SUCCESS) return s;
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  s = cublasLtMatmulAlgoGetHeuristic(handle.get(), operation, of.weight, of.rows, of.out, of.out,
                                     &preference, 1, &best, &found);
  if (s != CUBLAS_STATUS_SUCCESS) return s;
  if (found == 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  algorithm = best.algo;
  workspace = best.workspaceSize;
  return best.state;
}

/// Where cuBLAS's workspace begins: at multiples of so many bytes.
inline constexpr std::uintptr_t blas_alignment = 256;
/// Bytes to ask of a caller for a workspace of `wanted` bytes, whatever their alignment.
inline Index blas_workspace_bytes(std::size_t wanted) noexcept {
  return wanted == 0 ? 0 : static_cast<Index>(wanted + blas_alignment - 1);
}
/// The first of `bytes` at which cuBLAS's workspace may begin; null where it wants none.
inline void* blas_workspace(std::byte* bytes, std::size_t wanted) noexcept {
  const auto place = reinterpret_cast<std::uintptr_t>(bytes);
  return wanted == 0 ? nullptr : bytes + (blas_alignment - place % blas_alignment) % blas_alignment;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
