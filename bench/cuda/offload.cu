// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a memory costs a decoding step when its table is in the GPU's memory, in page-locked memory
// or on a disk: the experiment of the paper's table 4. The dense blocks of a 4B and an 8B model are
// their matrix products alone (no attention over the past, no activations); one memory is in the
// second block. A step is a captured graph, and the host waits for each, as a sampler does.
//
//   offload [GiB of the table in the GPU's memory, 8] [in page-locked memory, 8] [on the disk, 8]
//           [file of that table, ./offload_rows; written anew and removed]
//
// Row ids are Zipf's, others in each step. Overlap: rows are read beside the first block, on a
// second stream; else in front of it. Of the table on the disk a tenth is kept in host memory, and
// in a second run a tenth in the GPU's memory as well.
#include "on_gpu.hpp"

#include <engram/cublas/blas_projection.hpp>
#include <engram/cuda/cached_gather.cuh>
#include <engram/cuda/device_store.hpp>
#include <engram/cuda/fuse.cuh>
#include <engram/cuda/gather.cuh>
#include <engram/cuda/pinned_store.hpp>
#include <engram/cuda/staged_batch.hpp>
#include <engram/engram.hpp>
#include <engram/storage/background_store.hpp>
#include <engram/storage/cached_store.hpp>
#include <engram/storage/disk/direct_store.hpp>
#include <engram/storage/disk/thread_reads.hpp>

#include <cublas_v2.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>

using namespace engram;
using namespace cuda_bench;

namespace {

constexpr Index columns = 16, row_width = 80, inputs = columns * row_width;  // 1280 values a token
constexpr Index row_bytes = row_width * 2;
constexpr int warm = 20, steps = 100;     // of each way
constexpr int sets = 2 * (warm + steps);  // of ids: no step has those of one before

using cuda_bench::need;
void need(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    give_up(sentence({what, ": ", cublasGetStatusString(status)}));
}

/// The widths of Qwen3's dense models of that size.
struct Model {
  const char* name;
  Index blocks, width, qkv, attended, inner;
};
constexpr Model models[] = {{"4B", 36, 2560, 6144, 4096, 9728},
                            {"8B", 36, 4096, 6144, 4096, 12288}};

/// The matrix products of a model's blocks for T tokens.
class Dense {
 public:
  Dense(const Model& model, Index tokens, cudaStream_t stream)
      : model_(model),
        tokens_(tokens),
        stream_(stream),
        first_(tokens * model.width),
        x_(tokens * model.width),
        qkv_(tokens * model.qkv),
        gates_(tokens * 2 * model.inner) {
    need(cublasCreate(&blas_), "cuBLAS");
    need(cublasSetStream(blas_, stream), "cuBLAS");
    // Its own workspace: what cuBLAS would allocate cannot be captured.
    need(cublasSetWorkspace(blas_, workspace_.data(), static_cast<std::size_t>(workspace_.count)),
         "cuBLAS");
    for (Index b = 0; b < model.blocks; ++b)
      for (const Index size : {model.qkv * model.width, model.width * model.attended,
                               2 * model.inner * model.width, model.width * model.inner}) {
        weights_.emplace_back(size);
        fill(weights_.back());
      }
    fill(first_);
  }
  Dense(const Dense&) = delete;
  ~Dense() { (void)cublasDestroy(blas_); }

  Bf16* hidden() const { return x_.data(); }
  /// The hidden states of a step's begin: those that a step left would grow or vanish in the next.
  void begin() const {
    need(
        cudaMemcpyAsync(x_.data(), first_.data(), static_cast<std::size_t>(x_.count) * sizeof(Bf16),
                        cudaMemcpyDeviceToDevice, stream_),
        "begin");
  }
  void block(Index b) const {
    const auto weight = [&](Index i) {
      return weights_[static_cast<std::size_t>(4 * b + i)].data();
    };
    product(weight(0), x_.data(), model_.width, qkv_.data(), model_.qkv, model_.width);
    product(weight(1), qkv_.data(), model_.qkv, x_.data(), model_.width, model_.attended);
    product(weight(2), x_.data(), model_.width, gates_.data(), 2 * model_.inner, model_.width);
    product(weight(3), gates_.data(), 2 * model_.inner, x_.data(), model_.width, model_.inner);
  }

 private:
  /// out [T, n] = in [T, k] weight [n, k]^T.
  void product(const Bf16* weight, const Bf16* in, Index in_stride, Bf16* out, Index n,
               Index k) const {
    // The root of the mean square of what fill() writes is 1 / 7.8: outputs are as large as inputs.
    const float one = 7.8f / std::sqrt(static_cast<float>(k)), zero = 0;
    need(cublasGemmEx(blas_, CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(n),
                      static_cast<int>(tokens_), static_cast<int>(k), &one, weight, CUDA_R_16BF,
                      static_cast<int>(k), in, CUDA_R_16BF, static_cast<int>(in_stride), &zero, out,
                      CUDA_R_16BF, static_cast<int>(n), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
         "product");
  }

  Model model_;
  Index tokens_;
  cudaStream_t stream_;
  Array<Bf16> first_, x_, qkv_, gates_;
  std::vector<Array<Bf16>> weights_;
  Array<std::byte> workspace_{Index{64} << 20};
  cublasHandle_t blas_ = nullptr;
};

/// The memory of the second block but for its rows.
struct Memory {
  Index tokens, width;
  Array<int> ids;
  Array<Bf16> elements, weight, segments;
  Array<float> gates;
  Array<Part> parts;
  BlasProjection projection;
  Array<std::byte> workspace;

  Memory(Index t, Index d)
      : tokens(t),
        width(d),
        ids(t * columns),
        elements(t * inputs),
        weight(2 * d * inputs),
        segments(t * 2 * d),
        gates(t),
        parts(t),
        projection(make_projection()),
        workspace(projection.workspace_bytes() + 1) {
    fill(weight);
  }

  DeviceView<Bf16, 2> rows_out() const {
    return DeviceView<Bf16, 2>(elements.data(), tokens, inputs);
  }
  DeviceView<const int, 2> row_ids() const {
    return DeviceView<const int, 2>(ids.data(), tokens, columns);
  }
  void project_and_fuse(const CudaDevice& device, Bf16* hidden) const {
    const DeviceView<Bf16, 3> to(segments.data(), tokens, 2, width);
    const DeviceView<Bf16, 3> x(hidden, tokens, 1, width);
    need(projection.project(device.stream, rows_out(), to,
                            DeviceView<std::byte, 1>(workspace.data(), workspace.count)),
         "projection");
    need(fuse(device, keys_of(to), value_of(to), x, x, FusionConfig(), SignedSqrtGate(),
              DeviceFusion<>(), DeviceView<float, 2>(gates.data(), tokens, 1),
              DeviceView<Part, 1>(parts.data(), tokens)),
         "fuse");
  }

 private:
  BlasProjection make_projection() const {
    const BlasMatrix fused{DeviceView<const Bf16, 2>(weight.data(), 2 * width, inputs), {}};
    return BlasProjection::make(View<const BlasMatrix, 1>(&fused, 1), 1,
                                View<const Index, 1>(&tokens, 1))
        .value();
  }
};

/// A step in a captured graph.
class Step {
 public:
  /// memory       null: none.
  /// launch_rows  launch_rows(device) launches what brings the rows.
  template <class LaunchRows>
  Step(const CudaDevice& device, const Dense& dense, const Model& model, const Memory* memory,
       bool overlap, const LaunchRows& launch_rows)
      : device_(device) {
    need(cudaStreamCreateWithFlags(&side_, cudaStreamNonBlocking), "stream");
    need(cudaEventCreateWithFlags(&begun_, cudaEventDisableTiming), "event");
    need(cudaEventCreateWithFlags(&there_, cudaEventDisableTiming), "event");
    dense.begin();
    dense.block(0);  // CUDA and cuBLAS load what they need when it is first used
    if (memory != nullptr) memory->project_and_fuse(device, dense.hidden());
    need(device.wait(), "first calls");

    cudaGraph_t graph = nullptr;
    need(cudaStreamBeginCapture(device.stream, cudaStreamCaptureModeGlobal), "capture");
    dense.begin();
    if (memory != nullptr && overlap) {
      need(cudaEventRecord(begun_, device.stream), "fork");
      need(cudaStreamWaitEvent(side_, begun_, 0), "fork");
      CudaDevice beside = device;
      beside.stream = side_;
      launch_rows(beside);
      need(cudaEventRecord(there_, side_), "join");
    } else if (memory != nullptr) {
      launch_rows(device);
    }
    for (Index b = 0; b < model.blocks; ++b) {
      if (b == 1 && memory != nullptr) {
        if (overlap) need(cudaStreamWaitEvent(device.stream, there_, 0), "join");
        memory->project_and_fuse(device, dense.hidden());
      }
      dense.block(b);
    }
    need(cudaStreamEndCapture(device.stream, &graph), "capture");
    need(cudaGraphInstantiate(&exec_, graph, 0), "graph");
    (void)cudaGraphDestroy(graph);
  }
  Step(const Step&) = delete;
  ~Step() {
    (void)cudaGraphExecDestroy(exec_);
    (void)cudaEventDestroy(begun_);
    (void)cudaEventDestroy(there_);
    (void)cudaStreamDestroy(side_);
  }
  void launch() const { need(cudaGraphLaunch(exec_, device_.stream), "launch"); }
  void wait() const { need(cudaStreamSynchronize(device_.stream), "step"); }

 private:
  CudaDevice device_;
  cudaStream_t side_ = nullptr;
  cudaEvent_t begun_ = nullptr, there_ = nullptr;
  cudaGraphExec_t exec_ = nullptr;
};

/// A way to take a step.
struct Way {
  const char* where;
  bool overlap;
  std::function<void(int)> step;  ///< with a set of ids, to its end
};

/// Median seconds of a step of each way. The ways take turns, so that the card's clock is the same
/// for all; with overlap and without they have other ids, which the other has not just brought.
std::vector<double> medians(const CudaDevice& device, const std::vector<Way>& ways) {
  using Clock = std::chrono::steady_clock;
  std::vector<std::vector<double>> times(ways.size());
  for (int i = 0; i < warm + steps; ++i)
    for (std::size_t w = 0; w < ways.size(); ++w) {
      const Clock::time_point start = Clock::now();
      ways[w].step(ways[w].overlap ? i + sets / 2 : i);
      if (i >= warm)
        times[w].push_back(std::chrono::duration<double>(Clock::now() - start).count());
    }
  need(device.wait(), "steps");
  std::vector<double> found;
  for (std::vector<double>& of : times) {
    std::nth_element(of.begin(), of.begin() + steps / 2, of.end());
    found.push_back(of[steps / 2]);
  }
  return found;
}

void print(const Model& model, Index tokens, const char* where, bool overlap, double s,
           double without) {
  std::printf("%-3s %4d sequences  %-34s %-8s %9.3f ms a step %9.0f tokens/s  loss %5.2f %%\n",
              model.name, static_cast<int>(tokens), where, overlap ? "overlap" : "", s * 1e3,
              static_cast<double>(tokens) / s, (s / without - 1) * 100);
}

using Disk = CachedStore<DirectStore<ThreadReads>>;
using Background = BackgroundStore<Disk>;

/// The tables, whichever there is room for.
struct Tables {
  std::optional<DeviceStore> hbm;
  std::optional<PinnedStore> pinned;
  std::optional<DirectStore<ThreadReads>> file;
  std::optional<Disk> cached;
  std::optional<Background> disk;

  Tables(Index hbm_bytes, Index pinned_bytes, Index disk_bytes, const std::string& path) {
    if (auto made = DeviceStore::make(hbm_bytes / row_bytes, row_bytes); made.ok()) {
      hbm.emplace(std::move(made.value()));
      fill(*hbm);
    } else {
      std::printf("[skipped] %s\n", made.message().c_str());
    }
    const Index pinned_rows = pinned_bytes / default_stride(row_bytes);
    auto made = HostStore::make(pinned_rows, row_bytes);
    auto locked = made.ok() ? PinnedStore::make(std::move(made.value()))
                            : Result<PinnedStore>(made.failure());
    if (locked.ok()) {
      pinned.emplace(std::move(locked.value()));
      fill(*pinned);
    } else {
      std::printf("[skipped] %s\n", locked.message().c_str());
    }
    write(path, disk_bytes);
    TableSegment segment;
    segment.codes = {path, -1, 0, disk_bytes / row_bytes, row_bytes, row_bytes};
    auto opened = DirectStore<ThreadReads>::open({segment}, ThreadReads::make(16).value());
    if (!opened.ok()) {
      std::printf("[skipped] %s\n", opened.message().c_str());
      return;
    }
    file.emplace(std::move(opened.value()));
    CacheOptions options;
    options.bytes = disk_bytes / 10;
    options.miss_rows = 16384;
    cached.emplace(Disk::make(*file, options).value());
    disk.emplace(*cached);
  }

 private:
  static void write(const std::string& path, Index bytes) {
    std::vector<char> piece(std::size_t{16} << 20);
    for (char& c : piece) c = static_cast<char>(random_bits() & 0x3F);
    std::ofstream out(path, std::ios::binary);
    for (Index at = 0; at < bytes; at += static_cast<Index>(piece.size()))
      out.write(piece.data(),
                static_cast<std::streamsize>(std::min<Index>(bytes - at, Index{16} << 20)));
    if (!out.flush()) give_up("cannot write " + path);
  }
};

void bench(const CudaDevice& device, const Model& model, Index tokens, Tables& tables) {
  const Dense dense(model, tokens, device.stream);
  const Memory memory(tokens, model.width);
  std::vector<Way> ways;
  // launch_rows as of Step; before(i), after(i): what the host does in front of and behind the
  // launch of step i.
  const auto add = [&](const char* where, bool overlap, const Memory* with, const auto& launch_rows,
                       const auto& before, const auto& after) {
    const auto step = std::make_shared<Step>(device, dense, model, with, overlap, launch_rows);
    ways.push_back({where, overlap, [step, before, after](int i) {
                      before(i);
                      step->launch();
                      after(i);
                      step->wait();
                    }});
  };
  const auto nothing = [](auto&&...) {};
  const auto run = [&] {
    const std::vector<double> s = medians(device, ways);
    for (std::size_t w = 0; w < ways.size(); ++w)
      print(model, tokens, ways[w].where, ways[w].overlap, s[w], s[0]);
    return s;
  };
  add("no memory", false, nullptr, nothing, nothing, nothing);

  const auto ids_bytes = static_cast<std::size_t>(tokens * columns) * sizeof(int);
  const PinnedMemory sent = PinnedMemory::make(static_cast<Index>(ids_bytes)).value();
  const auto add_store = [&](const auto& store, const char* where, const auto& launch_rows) {
    const auto ids = std::make_shared<std::vector<int>>(
        some_ids(sets * tokens * columns, store.num_rows(), true));
    const auto send = [&, ids](int set) {
      std::memcpy(sent.data(), &(*ids)[static_cast<std::size_t>(set * tokens * columns)],
                  ids_bytes);
      need(cudaMemcpyAsync(memory.ids.data(), sent.data(), ids_bytes, cudaMemcpyHostToDevice,
                           device.stream),
           "ids");
    };
    for (const bool overlap : {false, true})
      add(where, overlap, &memory, launch_rows, send, nothing);
  };
  const auto gather_from = [&](const auto& store) {
    return [&](const CudaDevice& on) {
      need(gather(on, store, Bf16Codec(), row_width, memory.row_ids(), memory.rows_out()),
           "gather");
    };
  };
  std::optional<RowCache> cache;
  if (tables.hbm) add_store(*tables.hbm, "the GPU's memory", gather_from(*tables.hbm));
  if (tables.pinned) {
    add_store(*tables.pinned, "page-locked memory", gather_from(*tables.pinned));
    cache.emplace(RowCache::make({tables.pinned->num_rows(), row_bytes, 0},
                                 tables.pinned->num_rows() / 10 * (device_stride(row_bytes) + 8))
                      .value());
    add_store(*tables.pinned, "page-locked, a tenth cached", [&](const CudaDevice& on) {
      need(cached_gather(on, *cache, *tables.pinned, Bf16Codec(), row_width, memory.row_ids(),
                         memory.rows_out()),
           "cached gather");
    });
    // The link needs few blocks, which leave the others to the products.
    add_store(*tables.pinned, "page-locked, by 64 blocks", [&](CudaDevice on) {
      on.most_blocks = 64;
      gather_from (*tables.pinned)(on);
    });
  }
  const std::vector<double> s = run();
  if (tables.hbm && tables.pinned)
    std::printf(
        "    page-locked against the GPU's memory: %.3f, with overlap %.3f (must 1.03, aim "
        "1.01)\n",
        s[3] / s[1], s[4] / s[2]);
  if (!tables.disk) return;
  using Batch = StagedBatch<Background, Bf16Codec>;
  const Index count = tokens * columns, zero = 0;
  const auto from_disk = [&](Index rows, const char* where) {
    const std::vector<int> ids = some_ids(sets * count, tables.disk->num_rows(), true);
    const PinnedMemory host = PinnedMemory::make(Batch::pinned_bytes(*tables.disk, count)).value();
    const Array<std::byte> gpu(Batch::device_bytes(*tables.disk, count, rows));
    const auto batch = Batch::make(*tables.disk, {}, row_width, count, host.view(),
                                   DeviceView<std::byte, 1>(gpu.data(), gpu.count))
                           .value();
    const auto ask = [&](int set) {
      need(batch->plan(
               View<const int, 3>(&ids[static_cast<std::size_t>(set * count)], tokens, 1, columns),
               View<const Index, 1>(&zero, 1)),
           "plan");
      need(batch->submit(), "submit");
    };
    const auto ask_and_wait = [&](int set) {
      ask(set);
      need(batch->wait(), "disk");
    };
    const auto take = [&](const CudaDevice& on) {
      need(batch->take(on, tokens, 1, columns, 5'000'000), "take");
      need(batch->decode(on, 0, memory.rows_out()), "decode");
    };
    ways.resize(1);
    add(where, false, &memory, take, ask_and_wait, nothing);
    add(where, true, &memory, take, nothing, ask);
    run();
    ways.resize(1);
  };
  from_disk(count, "disk, a tenth in host memory");
  from_disk(count + tables.disk->num_rows() / 10, "disk, a tenth in both memories");
}

}  // namespace

int main(int argc, char** argv) {
  const auto gib = [&](int i) { return (argc > i ? std::atoll(argv[i]) : 8) << 30; };
  const std::string path = argc > 4 ? argv[4] : "offload_rows";
  if (const auto found = cuda_device_count(); !found.ok()) {
    std::printf("[skipped] %s\n", found.message().c_str());
    return 0;
  }
  cudaDeviceProp card{};
  need(cudaGetDeviceProperties(&card, 0), "device");
  std::printf("%s; rows of %d bytes, %d a token\n", card.name, static_cast<int>(row_bytes),
              static_cast<int>(columns));
  DeviceErrors errors = DeviceErrors::make().value();
  cudaStream_t stream = nullptr;
  need(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
  const CudaDevice device(stream, errors);
  {
    Tables tables(gib(1), gib(2), gib(3), path);
    for (const Model& model : models)
      for (const Index tokens : {64, 256, 512}) bench(device, model, tokens, tables);
  }
  std::remove(path.c_str());
  (void)cudaStreamDestroy(stream);
  return 0;
}
