// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The code of docs/cuda.md, each block in a function: compiling is the test. page.sh makes the
// files NAME.inl: the headers that the page includes, and each block under the name of its section.
// A parameter is what a block takes from its reader. No templates: in one that is never
// instantiated a misspelt member would pass.
#include "includes.inl"

// The reader's own: a model's front end, and a store that is asked for rows in batches.
#include <engram/ngram/suffix.hpp>
#include <engram/storage/mapped_reader.hpp>
#include <engram/tokenizer/identity.hpp>

using namespace engram;

namespace {

using HostFrontEnd = FrontEnd<IdentityCompressor, SuffixNgrams<RuntimeBoundary>, MultiplicativeXor>;
template <class T, int Rank>
using OnGpu = View<T, Rank, DeviceSpace>;

}  // namespace

// The page leaves each Status out, and uses not all that it makes.
#pragma nv_diag_suppress 177, 2810

void a_step(cudaStream_t stream, const HostFrontEnd& host_front_end, const HostStore& host_store,
            OnGpu<Bf16, 2> weight, Index branches, OnGpu<const int, 1> tokens,
            OnGpu<const int, 1> starts, OnGpu<NgramState, 1> states, OnGpu<int, 3> rows,
            OnGpu<const int, 2> rows_of_layer, Index row_width, OnGpu<Bf16, 2> elements,
            OnGpu<Bf16, 3> segments, OnGpu<std::byte, 1> workspace, OnGpu<Bf16, 3> hidden,
            OnGpu<Bf16, 3> out, OnGpu<float, 2> gates, OnGpu<Part, 1> parts,
            const CudaDevice& side_device, const DeviceFusionWeights& weights, Index most_tokens,
            Index sequences, OnGpu<float, 2> conv_states, OnGpu<const E4m3, 2> codes,
            OnGpu<const E8m0, 2> scales, OnGpu<E8m0, 1> tiles) {
#include "a_step.inl"
#include "a_step_2.inl"
#include "a_step_3.inl"
}

void rows_from_a_disk(const CudaDevice& device, cudaStream_t stream, cudaGraphExec_t step,
                      const MappedFetchStore& disk_store, Index row_width, Index most_ids,
                      Index kept_rows, Index tokens, Index layers, Index columns,
                      View<const int, 3> rows, View<const Index, 1> first_rows,
                      OnGpu<Bf16, 2> elements) {
#include "rows_from_a_disk.inl"
}

void training(const CudaDevice& device, DeviceStore store, Index row_width,
              OnGpu<const Bf16, 3> keys, OnGpu<const Bf16, 2> value, OnGpu<const Bf16, 3> hidden,
              OnGpu<const float, 3> gradient_of_out, FusionConfig config, SignedSqrtGate gate,
              DeviceFusion<> with, DeviceConv<> conv, OnGpu<float, 2> gates, OnGpu<Part, 1> parts,
              OnGpu<std::byte, 1> conv_bytes, DeviceFuseGradients gradients,
              OnGpu<std::byte, 1> workspace, RowPlanner planner, OnGpu<const int, 2> rows,
              OnGpu<int, 1> unique, OnGpu<std::byte, 1> plan_bytes,
              OnGpu<const float, 2> gradient_of_e, OnGpu<float, 2> sums, OnGpu<float, 2> state,
              RowStep step, OnGpu<std::byte, 1> sum_bytes) {
#include "training.inl"
}

void a_cache_over_a_larger_table(const CudaDevice& device, HostStore host_table, Index row_width,
                                 OnGpu<const int, 2> rows_of_layer, OnGpu<Bf16, 2> elements) {
#include "a_cache_over_a_larger_table.inl"
}
