// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The functions of cuBLAS and CUDA that need a GPU as plain loops, over host memory and the
// descriptors as cuBLAS keeps them.
#include "blas_double.hpp"

#include <catch.hpp>
#include <engram/core/scalar.hpp>

using namespace engram;

namespace {

template <class T>
T attribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t which) {
  T value{};
  std::size_t written = 0;
  CHECK(cublasLtMatrixLayoutGetAttribute(layout, which, &value, sizeof value, &written) ==
        CUBLAS_STATUS_SUCCESS);
  return value;
}
template <class T>
T attribute(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t which) {
  T value{};
  std::size_t written = 0;
  CHECK(cublasLtMatmulDescGetAttribute(operation, which, &value, sizeof value, &written) ==
        CUBLAS_STATUS_SUCCESS);
  return value;
}
std::uint32_t attribute(cublasLtMatmulPreference_t preference,
                        cublasLtMatmulPreferenceAttributes_t which) {
  std::uint32_t value = 0;
  std::size_t written = 0;
  CHECK(cublasLtMatmulPreferenceGetAttribute(preference, which, &value, sizeof value, &written) ==
        CUBLAS_STATUS_SUCCESS);
  return value;
}

/// A matrix as cuBLAS sees it, columns one behind the other: of bf16, or of e4m3 with a scale for
/// each 32 elements of a column.
struct Columns {
  const void* data;
  const E8m0* scales = nullptr;
  Index rows, columns, step;

  Columns(const void* at, cublasLtMatrixLayout_t layout)
      : data(at),
        rows(attribute<std::int64_t>(layout, CUBLASLT_MATRIX_LAYOUT_ROWS)),
        columns(attribute<std::int64_t>(layout, CUBLASLT_MATRIX_LAYOUT_COLS)),
        step(attribute<std::int64_t>(layout, CUBLASLT_MATRIX_LAYOUT_LD)) {
    CHECK(attribute<std::uint32_t>(layout, CUBLASLT_MATRIX_LAYOUT_TYPE) == CUDA_R_16BF);
    check_layout(layout);
  }
  Columns(const void* at, cublasLtMatrixLayout_t layout, cublasLtMatmulDesc_t operation,
          cublasLtMatmulDescAttributes_t mode, cublasLtMatmulDescAttributes_t scale)
      : data(at),
        rows(attribute<std::int64_t>(layout, CUBLASLT_MATRIX_LAYOUT_ROWS)),
        columns(attribute<std::int64_t>(layout, CUBLASLT_MATRIX_LAYOUT_COLS)),
        step(attribute<std::int64_t>(layout, CUBLASLT_MATRIX_LAYOUT_LD)) {
    check_layout(layout);
    const auto type = attribute<std::uint32_t>(layout, CUBLASLT_MATRIX_LAYOUT_TYPE);
    if (type == CUDA_R_16BF) return;
    CHECK(type == CUDA_R_8F_E4M3);
    CHECK(attribute<std::int32_t>(operation, mode) == CUBLASLT_MATMUL_MATRIX_SCALE_VEC32_UE8M0);
    scales = attribute<const E8m0*>(operation, scale);
    CHECK(divides(16, scales));
    CHECK(divides(16, data));
    CHECK(step % 16 == 0);
  }
  double at(Index row, Index column, bool transposed) const {
    return transposed ? element(column, row) : element(row, column);
  }

 private:
  void check_layout(cublasLtMatrixLayout_t layout) const {
    CHECK(attribute<std::int32_t>(layout, CUBLASLT_MATRIX_LAYOUT_ORDER) == CUBLASLT_ORDER_COL);
    CHECK(step >= rows);
  }
  double element(Index row, Index column) const {
    if (scales == nullptr) return to_float(static_cast<const Bf16*>(data)[row + column * step]);
    // Tiles of 128 columns by 4 blocks; in a tile [32][4][4], columns 32 apart beside each other.
    const Index block = row / 32, across = (rows / 32 + 3) / 4;
    const Index tile = column / 128 * across + block / 4;
    const Index place = (column % 32 * 4 + column % 128 / 32) * 4 + block % 4;
    return scaled(static_cast<const E4m3*>(data)[row + column * step], scales[tile * 512 + place]);
  }
};

}  // namespace

extern "C" {

cudaError_t __wrap_cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t __wrap_cudaGetDevice(int* gpu) {
  *gpu = 0;
  return cudaSuccess;
}
cudaError_t __wrap_cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
  CHECK(which == cudaDevAttrComputeCapabilityMajor);
  *value = calls.capability;
  return cudaSuccess;
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(&calls);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t preference, int asked,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* found) {
  ++calls.searches;
  CHECK(asked == 1);
  CHECK(attribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) ==
        CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
  *found = calls.finds_none ? 0 : 1;
  results[0] = {};
  results[0].workspaceSize = calls.workspace_wanted;
  // An algorithm that needs what it was told of the places, so that the product can check it.
  results[0].algo.data[0] = attribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
  results[0].algo.data[1] = attribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
  results[0].algo.data[2] = attribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
  results[0].algo.data[3] = attribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
  return calls.search_status;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              std::size_t workspace_bytes, cudaStream_t stream) {
  ++calls.products;
  calls.workspace = static_cast<std::byte*>(workspace);
  calls.workspace_bytes = workspace_bytes;
  calls.stream = stream;
  if (calls.product_status != CUBLAS_STATUS_SUCCESS) return calls.product_status;
  CHECK(*static_cast<const float*>(alpha) == 1.0f);
  CHECK(*static_cast<const float*>(beta) == 0.0f);
  CHECK(c == d);
  const void* const places[] = {a, b, c, d};
  for (int i = 0; i < 4; ++i)
    CHECK(divides(static_cast<std::uint32_t>(algorithm->data[i]), places[i]));
  const bool turn_a = attribute<std::int32_t>(operation, CUBLASLT_MATMUL_DESC_TRANSA) != 0;
  const bool turn_b = attribute<std::int32_t>(operation, CUBLASLT_MATMUL_DESC_TRANSB) != 0;
  CHECK(attribute<std::int32_t>(operation, CUBLASLT_MATMUL_DESC_COMPUTE_TYPE) ==
        CUBLAS_COMPUTE_32F);
  const auto epilogue = attribute<std::uint32_t>(operation, CUBLASLT_MATMUL_DESC_EPILOGUE);
  const auto* const bias =
      epilogue == CUBLASLT_EPILOGUE_BIAS
          ? attribute<const Bf16*>(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER)
          : nullptr;
  const Columns left(a, a_layout, operation, CUBLASLT_MATMUL_DESC_A_SCALE_MODE,
                     CUBLASLT_MATMUL_DESC_A_SCALE_POINTER);
  const Columns right(b, b_layout, operation, CUBLASLT_MATMUL_DESC_B_SCALE_MODE,
                      CUBLASLT_MATMUL_DESC_B_SCALE_POINTER);
  const Columns out(d, d_layout);
  CHECK((left.scales == nullptr) == (right.scales == nullptr));
  const Index inner = turn_a ? left.rows : left.columns;
  CHECK((turn_a ? left.columns : left.rows) == out.rows);
  CHECK((turn_b ? right.rows : right.columns) == out.columns);
  CHECK((turn_b ? right.columns : right.rows) == inner);
  for (Index row = 0; row < out.rows; ++row)
    for (Index column = 0; column < out.columns; ++column) {
      double sum = bias != nullptr ? to_float(bias[row]) : 0.0;
      for (Index i = 0; i < inner; ++i)
        sum += left.at(row, i, turn_a) * right.at(i, column, turn_b);
      static_cast<Bf16*>(d)[row + column * out.step] = from_float<Bf16>(static_cast<float>(sum));
    }
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
