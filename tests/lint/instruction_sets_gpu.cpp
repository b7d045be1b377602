// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the host does in the GPU's wings, for instruction_sets.sh to look at. It is not run.
#include <engram/codec/fp8.hpp>
#include <engram/cublas/blas_projection.hpp>
#include <engram/cublas/fp8_blas_projection.hpp>
#include <engram/cuda/device_errors.hpp>
#include <engram/cuda/device_store.hpp>
#include <engram/cuda/pinned_store.hpp>
#include <engram/cuda/row_cache.hpp>
#include <engram/cuda/staged_batch.hpp>
#include <engram/storage/background_store.hpp>
#include <engram/storage/mapped_reader.hpp>

using namespace engram;

Status keep_tables(HostStore& rows) {
  const auto sent = DeviceStore::copy_of(rows);
  const auto cache = RowCache::make({1, 2, 3}, 4);
  const auto locked = PinnedStore::make(std::move(rows));
  return sent.ok() && cache.ok() && locked.ok() ? Status() : sent.status();
}

Status keep_batches(const MappedFetchStore& disk) {
  const BackgroundStore store(disk);
  using Batch = StagedBatch<BackgroundStore<MappedFetchStore>, Fp8Codec>;
  auto batch = Batch::make(store, {}, 256, 10, {}, {});
  (void)batch.value()->plan(View<const int, 3>(), View<const Index, 1>());
  (void)batch.value()->submit();
  return batch.value()->wait();
}

Status keep_projections(View<const BlasMatrix, 1> matrices, const Fp8BlasMatrix& matrix) {
  auto errors = DeviceErrors::make();
  auto fp8 = Fp8BlasProjection::make(matrix, 2, {});
  (void)fp8.value().prepare(4);
  auto product = BlasProjection::make(matrices, 2, {});
  (void)product.value().prepare(3);
  (void)product.value().project(nullptr, {}, {}, {});
  return errors.value().take(nullptr);
}
