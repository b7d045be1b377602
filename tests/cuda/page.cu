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

}  // namespace

// The page leaves each Status out, and uses not all that it makes.
#pragma nv_diag_suppress 177, 2810

void a_step(cudaStream_t stream, const HostFrontEnd& host_front_end, const HostStore& host_store,
            DeviceView<Bf16, 2> weight, Index branches, DeviceView<const int, 1> tokens,
            DeviceView<const int, 1> starts, DeviceView<NgramState, 1> states,
            DeviceView<int, 3> rows, DeviceView<const int, 2> rows_of_layer, Index row_width,
            DeviceView<Bf16, 2> elements, DeviceView<Bf16, 3> segments,
            DeviceView<std::byte, 1> workspace, DeviceView<Bf16, 3> hidden, DeviceView<Bf16, 3> out,
            DeviceView<float, 2> gates, DeviceView<Part, 1> parts, const CudaDevice& side_device,
            const DeviceFusionWeights& weights, Index most_tokens, Index sequences,
            DeviceView<float, 2> conv_states, DeviceView<const E4m3, 2> codes,
            DeviceView<const E8m0, 2> scales, DeviceView<E8m0, 1> tiles) {
#include "a_step.inl"
#include "a_step_2.inl"
#include "a_step_3.inl"
}

void rows_from_a_disk(const CudaDevice& device, cudaStream_t stream, cudaGraphExec_t step,
                      const MappedFetchStore& disk_store, Index row_width, Index most_ids,
                      Index kept_rows, Index tokens, Index layers, Index columns,
                      View<const int, 3> rows, View<const Index, 1> first_rows,
                      DeviceView<Bf16, 2> elements) {
#include "rows_from_a_disk.inl"
}

void training(const CudaDevice& device, DeviceStore store, Index row_width,
              DeviceView<const Bf16, 3> keys, DeviceView<const Bf16, 2> value,
              DeviceView<const Bf16, 3> hidden, DeviceView<const float, 3> gradient_of_out,
              FusionConfig config, SignedSqrtGate gate, DeviceFusion<> with, DeviceConv<> conv,
              DeviceView<float, 2> gates, DeviceView<Part, 1> parts,
              DeviceView<std::byte, 1> conv_bytes, DeviceFuseGradients gradients,
              DeviceView<std::byte, 1> workspace, RowPlanner planner, DeviceView<const int, 2> rows,
              DeviceView<int, 1> unique, DeviceView<std::byte, 1> plan_bytes,
              DeviceView<const float, 2> gradient_of_e, DeviceView<float, 2> sums,
              DeviceView<float, 2> state, RowStep step, DeviceView<std::byte, 1> sum_bytes) {
#include "training.inl"
}

void a_cache_over_a_larger_table(const CudaDevice& device, HostStore host_table, Index row_width,
                                 DeviceView<const int, 2> rows_of_layer,
                                 DeviceView<Bf16, 2> elements) {
#include "a_cache_over_a_larger_table.inl"
}
