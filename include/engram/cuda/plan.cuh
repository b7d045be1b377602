// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The distinct rows of a batch, found on the GPU with CUB's sort and scan. The only header that
// includes CUB, which takes a compiler seconds.

#include <engram/cuda/cuda_device.cuh>
#include <engram/cuda/row_plan.hpp>

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

ENGRAM_BEGIN_NAMESPACE

/// The sort and the scan of a plan, in memory that was taken for them.
struct CubSorter {
  struct Sum {
    template <class T>
    ENGRAM_HD T operator()(const T& a, const T& b) const noexcept {
      return a + b;
    }
  };

  void* memory = nullptr;
  std::size_t bytes = 0;

  ENGRAM_HIDDEN std::uint64_t* sort(std::uint64_t* const (&pairs)[2], Index count, int begin_bit,
                                    int end_bit, const CudaDevice& device) const noexcept {
    cub::DoubleBuffer<std::uint64_t> keys(pairs[0], pairs[1]);
    std::size_t size = bytes;
    device.note(cub::DeviceRadixSort::SortKeys(memory, size, keys, static_cast<int>(count),
                                               begin_bit, end_bit, device.stream));
    return keys.Current();
  }
  template <class T>
  ENGRAM_HIDDEN void sum(T* items, Index count, const CudaDevice& device) const noexcept {
    std::size_t size = bytes;
    device.note(cub::DeviceScan::InclusiveScan(memory, size, items, items, Sum(),
                                               static_cast<int>(count), device.stream));
  }

  /// CUB asks for the last error after its launches, and would give up for what a call of the
  /// caller's left there. The caller has that call's answer; but a launch by <<<>>> has no other,
  /// so device.wait() tells it.
  ENGRAM_HIDDEN static void take_last_error(const CudaDevice& device) noexcept {
    const cudaError_t left = cudaGetLastError();
    if (left == cudaErrorInvalidConfiguration || left == cudaErrorLaunchOutOfResources ||
        left == cudaErrorInvalidDeviceFunction || left == cudaErrorNoKernelImageForDevice)
      device.note(left);
  }

  /// Bytes for any of the calls above over `count` ids, as CUB says for the current GPU.
  ENGRAM_HIDDEN static cudaError_t needed(Index count, std::size_t& bytes) noexcept {
    cub::DoubleBuffer<std::uint64_t> keys(nullptr, nullptr);
    std::size_t sort = 0, runs = 0, chunks = 0;
    const int n = static_cast<int>(count);
    cudaError_t error = cub::DeviceRadixSort::SortKeys(nullptr, sort, keys, n);
    RowRuns* const no_runs = nullptr;
    RowChunks* const no_chunks = nullptr;
    if (error == cudaSuccess)
      error = cub::DeviceScan::InclusiveScan(nullptr, runs, no_runs, no_runs, Sum(), n);
    if (error == cudaSuccess)
      error = cub::DeviceScan::InclusiveScan(nullptr, chunks, no_chunks, no_chunks, Sum(), n);
    bytes = sort > runs ? sort : runs;
    bytes = bytes > chunks ? bytes : chunks;
    return error;
  }
};

/// Plans batches of up to so many ids. Trivially copyable.
class RowPlanner {
 public:
  /// For batches of up to `most` ids, T * H, on the current GPU.
  ///
  /// Fails with invalid_config (most below 1 or above 2^31 - 1), unsupported (no GPU) or device.
  ENGRAM_HIDDEN static Result<RowPlanner> make(Index most) {
    if (most < 1 || most > INT32_MAX)
      return fail(Code::invalid_config, {"row planner: ", most, " ids, expected 1 to 2^31 - 1"});
    if (const Result<int> found = cuda_device_count(); !found.ok()) return found.failure();
    RowPlanner made;
    made.most_ = most;
    if (const cudaError_t error = CubSorter::needed(most, made.sorter_bytes_); error != cudaSuccess)
      return cuda_failure("row planner", error);
    return made;
  }

  Index most() const noexcept { return most_; }
  /// Bytes of workspace of a plan.
  Index workspace_bytes() const noexcept {
    return RowPlanScratch::bytes(most_) +
           static_cast<Index>(Workspace::bytes_for<std::byte>(static_cast<Index>(sorter_bytes_)));
  }

  /// Finds the distinct rows of a batch and the place of each id among them, as plan_dedupe().
  ///
  /// rows       [T, H] row ids of one table, int32 or int64, T * H at most most(); -1: no row.
  /// num_rows   rows of the table; ids are in [-1, num_rows).
  /// unique     [>= T * H] written: the distinct rows, ascending, then -1. As [T * H, 1] they are
  ///            what gather() takes to read each row once.
  /// scatter    [T * H] written: rows(t, c) == unique(scatter(t * H + c)), or -1 for no row; or
  ///            empty. As [T, H] it is what gather() takes to bring the rows that were read to
  ///            where they go.
  /// made       written: for the calls of row_gradient.hpp. Valid as long as `unique` and the
  ///            workspace.
  /// workspace  workspace_bytes() bytes of the GPU, any alignment.
  /// Status     shape_mismatch, workspace_small (index: the bytes), unsupported (more than most()
  ///            ids; num_rows * T * H beyond 2^63); then nothing was launched. device.wait() says
  ///            bad_row (index: t * H + c) for an id that is neither -1 nor a row; it counts as -1.
  ///            device, where a launch by <<<>>> in front was refused: CUB would take it for its
  ///            own, so the runtime's last error is cleared here.
  /// Cost       a sort of 8-byte numbers on the bits that rows of this table have, two scans, four
  ///            launches. No allocation, can be captured.
  template <class Row>
  ENGRAM_HIDDEN Status plan(const CudaDevice& device, DeviceView<Row, 2> rows, Index num_rows,
                            DeviceView<std::remove_const_t<Row>, 1> unique,
                            DeviceView<std::int32_t, 1> scatter,
                            DeviceRowPlan<std::remove_const_t<Row>>& made,
                            DeviceView<std::byte, 1> workspace) const noexcept {
    const DeviceView<const std::remove_const_t<Row>, 2> ids = rows;
    if (Status s = check_row_plan(ids, num_rows, unique, scatter); !s.ok()) return s;
    if (ids.size() > most_) return {Code::unsupported, 0, ids.size()};
    if (workspace.size() < workspace_bytes()) return {Code::workspace_small, 0, workspace_bytes()};
    Workspace memory(workspace.for_body());
    CubSorter::take_last_error(device);
    const CubSorter sorter{memory.take<std::byte>(static_cast<Index>(sorter_bytes_)),
                           sorter_bytes_};
    made = make_row_plan(device, sorter, ids, num_rows, unique, scatter, memory);
    return {};
  }

 private:
  Index most_ = 0;
  std::size_t sorter_bytes_ = 0;
};

ENGRAM_END_NAMESPACE
