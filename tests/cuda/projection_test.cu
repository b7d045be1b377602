// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The projection by cuBLAS beside sums in double: fused and split weights, with and without bias,
// few tokens and many, and in a graph.
#include "gpu.hpp"

#include <engram/codec/plain.hpp>
#include <engram/cublas/blas_projection.hpp>
#include <engram/cublas/fp8_blas_projection.hpp>
#include <engram/cuda/device_layer.hpp>
#include <engram/cuda/device_store.hpp>
#include <engram/cuda/fp8_operands.hpp>
#include <engram/cuda/fuse.cuh>
#include <engram/cuda/gather.cuh>
#include <engram/storage/host_store.hpp>
#include <projection_case.hpp>

#include <cmath>

using namespace engram;
using elements::random_elements;
using gpu::at;

namespace {

/// Weights on both sides.
struct Weights : projection_case::Weights {
  gpu::Array<Bf16> device_matrix, device_bias;

  Weights(Index m, Index d, Index g, Index padding, Random& random)
      : projection_case::Weights(m, d, g, padding, random),
        device_matrix(matrix),
        device_bias(bias) {}

  std::vector<BlasMatrix> matrices(bool is_split, bool with_bias) const {
    return projection_case::Weights::matrices(device_matrix.data(),
                                              with_bias ? device_bias.data() : nullptr, is_split);
  }
};

/// How many outputs are further from the sum in double than one rounding to bf16, and sums in
/// float, can be.
Index wrong_outputs(const Weights& w, bool with_bias, const std::vector<Bf16>& e,
                    const std::vector<Bf16>& found) {
  const Index outputs = (w.branches + 1) * w.width;
  const Index tokens = static_cast<Index>(e.size()) / w.inputs;
  Index wrong = 0;
  for (Index t = 0; t < tokens; ++t)
    for (Index n = 0; n < outputs; ++n) {
      double sum = with_bias ? to_float(w.bias[at(n)]) : 0.0, size = std::abs(sum);
      for (Index m = 0; m < w.inputs; ++m) {
        const double product = double{to_float(e[at(t * w.inputs + m)])} *
                               double{to_float(w.matrix[at(n * w.stride + m)])};
        sum += product;
        size += std::abs(product);
      }
      const double difference = std::abs(to_float(found[at(t * outputs + n)]) - sum);
      wrong += !(difference <= 0x1p-8 * std::abs(sum) + 1e-5 * size);
    }
  return wrong;
}

struct Shape {
  Index inputs, width, branches, padding;
};
constexpr Shape shapes[] = {{256, 128, 4, 0}, {2560, 64, 4, 8}, {40, 24, 2, 0}, {33, 7, 3, 0}};

}  // namespace

TEST_CASE("cuda projection: keys and value of fused and split weights, with and without bias") {
  if (!gpu::is_here()) return;
  const std::vector<Index> batches = {1, 7, 512};
  for (const Shape& s : shapes)
    for (const bool with_bias : {false, true})
      for (const bool is_split : {false, true}) {
        INFO(s.inputs << " to " << s.branches << " x " << s.width << ", bias " << with_bias
                      << ", split " << is_split);
        Random random(1);
        const Weights weights(s.inputs, s.width, s.branches, s.padding, random);
        auto made =
            BlasProjection::make(weights.matrices(is_split, with_bias), s.branches, batches);
        if (s.inputs % 8 != 0 && made.status().code == Code::unsupported) {
          std::cout << "[unsupported on this GPU] rows of " << s.inputs << ": " << made.message()
                    << '\n';
          continue;
        }
        if (with_bias && is_split && s.width * s.branches % 8 != 0) {  // the value's bias
          CHECK(made.status() == Status{Code::unsupported, 0, 16});
          continue;
        }
        INFO(made.message());
        REQUIRE(made.ok());
        const BlasProjection& projection = made.value();
        CHECK(projection.input_width() == s.inputs);
        CHECK(projection.output_width() == s.width);
        CHECK(projection.branches() == s.branches);
        gpu::OwnStream stream;
        const gpu::Array<std::byte> workspace(
            std::vector<std::byte>(at(projection.workspace_bytes() + 1)));
        for (const Index tokens : batches) {
          const std::vector<Bf16> e = random_elements<Bf16>(tokens * s.inputs, random);
          const Index outputs = (s.branches + 1) * s.width;
          const Bf16 poison{0x7FC0};  // NaN: every output is written
          const gpu::Array<Bf16> rows(e), out(std::vector<Bf16>(at(tokens * outputs), poison));
          REQUIRE(projection
                      .project(stream.device().stream, rows.read(tokens, s.inputs),
                               out.view(tokens, s.branches + 1, s.width),
                               DeviceView<std::byte, 1>(workspace.data() + 1,
                                                        projection.workspace_bytes()))
                      .ok());
          REQUIRE(stream.device().wait().ok());
          CHECK(wrong_outputs(weights, with_bias, e, out.get()) == 0);
        }
      }
}

TEST_CASE("cuda projection: a captured call, replayed with other rows") {
  if (!gpu::is_here()) return;
  Random random(2);
  const Weights weights(512, 128, 4, 0, random);
  const std::vector<Index> batches = {7};
  auto made = BlasProjection::make(weights.matrices(true, true), 4, batches);
  REQUIRE(made.ok());
  BlasProjection& projection = made.value();
  const gpu::Array<std::byte> workspace(std::vector<std::byte>(at(projection.workspace_bytes())));
  gpu::Array<Bf16> rows(random_elements<Bf16>(7 * 512, random));
  const gpu::Array<Bf16> out(std::vector<Bf16>(7 * 640));
  gpu::OwnStream stream;
  const auto call = [&](const CudaDevice& device) {
    CHECK(projection
              .project(device.stream, rows.read(7, 512), out.view(7, 5, 128),
                       workspace.view(projection.workspace_bytes()))
              .ok());
  };
  call(stream.device());
  REQUIRE(stream.device().wait().ok());
  const gpu::Graph graph = stream.captured(call);
  for (int replay = 0; replay < 72; ++replay) {
    const std::vector<Bf16> e = random_elements<Bf16>(7 * 512, random);
    rows.set(e);
    stream.replay(graph);
    REQUIRE(stream.device().wait().ok());
    REQUIRE(wrong_outputs(weights, true, e, out.get()) == 0);
    // Other numbers of tokens leave what was captured as it is.
    if (replay == 9) REQUIRE(projection.prepare(64).ok());
  }
}

TEST_CASE("cuda projection: a layer over it, beside the layer over the plain loop") {
  if (!gpu::is_here()) return;
  Random random(4);
  constexpr Index tokens = 7, columns = 4, row_width = 64, rows = 20, width = 128, branches = 4;
  const Weights weights(columns * row_width, width, branches, 0, random);
  const std::vector<Index> batches = {tokens};
  auto made = BlasProjection::make(weights.matrices(false, false), branches, batches);
  REQUIRE(made.ok());
  const BlasProjection& products = made.value();
  const auto loop =
      DeviceReferenceProjection<Bf16>::make(weights.matrices(false, false)[0].weight, {}, branches)
          .value();
  HostStore host = HostStore::make(rows, row_width * 2).value();
  for (Index r = 0; r < rows; ++r)
    std::memcpy(host.mutable_ref()(r).codes, random_elements<Bf16>(row_width, random).data(),
                at(row_width * 2));
  using RowsOfBf16 = Table<DeviceStore, Bf16Codec>;
  RowsOfBf16 table = RowsOfBf16::make(DeviceStore::copy_of(host).value(), {}, row_width).value();
  std::vector<int> ids;
  for (Index i = 0; i < tokens * columns; ++i) ids.push_back(static_cast<int>(random.below(rows)));
  const gpu::Array<int> on_gpu(ids);
  const std::vector<Bf16> before = random_elements<Bf16>(tokens * branches * width, random);
  const gpu::Array<Bf16> hidden(before);
  gpu::OwnStream stream;
  const auto run = [&](const auto& projection) {
    const DeviceLayer layer(table, projection, DeviceFusionWeights(), FusionConfig());
    REQUIRE(layer.check().ok());
    const Index bytes = layer.workspace_bytes(tokens);
    const gpu::Array<std::byte> workspace(std::vector<std::byte>(at(bytes) + 1));
    const gpu::Array<Bf16> out(before);
    const CudaDevice device = stream.device();
    REQUIRE(layer
                .forward(device, on_gpu.read(tokens, columns), hidden.view(tokens, branches, width),
                         out.view(tokens, branches, width),
                         DeviceView<std::byte, 1>(workspace.data() + 1, bytes))
                .ok());
    REQUIRE(device.wait().ok());
    return out.get();
  };
  const std::vector<Bf16> found = run(products), expected = run(loop);
  Index far = 0;
  for (std::size_t i = 0; i < found.size(); ++i)
    far += !(std::abs(to_float(found[i]) - to_float(expected[i])) <=
             0x1p-5f * (1 + std::abs(to_float(expected[i]))));
  CHECK(far == 0);
  CHECK(found != before);
}

TEST_CASE("cuda projection: fp8 weights give what the loop gives, decoded and as they are stored") {
  if (!gpu::is_here()) return;
  constexpr Index inputs = 2560, width = 256, branches = 4, outputs = (branches + 1) * width;
  Random random(5);
  std::vector<E4m3> codes(at(outputs * inputs));
  for (E4m3& code : codes)
    code.bits = static_cast<std::uint8_t>(random.below(2) << 7 | random.below(0x70));
  std::vector<E8m0> scales(at(outputs / 32 * (inputs / 32)));
  for (E8m0& scale : scales) scale.bits = static_cast<std::uint8_t>(115 + random.below(6));
  const gpu::Array<E4m3> code_array(codes);
  const gpu::Array<E8m0> scale_array(scales);
  const auto code_view = code_array.read(outputs, inputs);
  const auto scale_view = scale_array.read(outputs / 32, inputs / 32);
  const Index tile_bytes = ScaleTiles{outputs, inputs / 32}.bytes();
  const gpu::Array<E8m0> tiles(std::vector<E8m0>(at(tile_bytes), E8m0{255}));
  const gpu::Array<Bf16> decoded(std::vector<Bf16>(at(outputs * inputs)));
  gpu::OwnStream stream;
  const CudaDevice device = stream.device();
  REQUIRE(tile_scales(device, scale_view, tiles.view(tile_bytes)).ok());
  REQUIRE(decode_weights(device, code_view, scale_view, decoded.view(outputs, inputs)).ok());
  REQUIRE(device.wait().ok());
  const std::vector<Index> batches = {1, 7, 130};
  const BlasMatrix matrix{decoded.read(outputs, inputs), {}};
  const auto products =
      BlasProjection::make(View<const BlasMatrix, 1>(&matrix, 1), branches, batches);
  REQUIRE(products.ok());
  const auto stored =
      Fp8BlasProjection::make({code_view, tiles.read(tile_bytes)}, branches, batches);
  if (stored.status().code == Code::unsupported)
    std::cout << "[unsupported on this GPU] fp8 with block scales: " << stored.message() << '\n';
  else
    REQUIRE(stored.ok());
  const auto loop =
      DeviceReferenceProjection<Bf16>::make(decoded.read(outputs, inputs), {}, branches).value();
  const QuantisedProjection expected_by(loop);
  for (const Index tokens : batches) {
    INFO(tokens << " tokens");
    const std::vector<Bf16> e = random_elements<Bf16>(tokens * inputs, random);
    const auto run = [&](const auto& projection) {
      const gpu::Array<Bf16> rows(e), out(std::vector<Bf16>(at(tokens * outputs), Bf16{0x7FC0}));
      const gpu::Array<std::byte> workspace(
          std::vector<std::byte>(at(projection.workspace_bytes() + 1)));
      REQUIRE(
          projection
              .project(device, rows.view(tokens, inputs), out.view(tokens, branches + 1, width),
                       DeviceView<std::byte, 1>(workspace.data() + 1, projection.workspace_bytes()))
              .ok());
      REQUIRE(device.wait().ok());
      return out.get();
    };
    const std::vector<Bf16> expected = run(expected_by);
    const auto count_far = [&](const std::vector<Bf16>& found) {
      Index far = 0;
      for (std::size_t i = 0; i < found.size(); ++i) {
        const float x = to_float(expected[i]);
        far += !(std::abs(to_float(found[i]) - x) <= 0x1p-6f * std::abs(x) + 1e-2f);
      }
      return far;
    };
    CHECK(count_far(run(QuantisedProjection(products.value()))) == 0);
    if (stored.ok()) CHECK(count_far(run(stored.value())) == 0);
  }
}

TEST_CASE("cuda projection: without a GPU a sentence, unless the weights do not fit") {
  const BlasMatrix none{DeviceView<const Bf16, 2>(nullptr, 50, 24), {}};
  const std::vector<BlasMatrix> matrices = {none};
  const std::vector<Index> batches;
  const auto refused = BlasProjection::make(matrices, 3, batches);
  CHECK(refused.status() == Status{Code::shape_mismatch});
  const auto made = BlasProjection::make(matrices, 4, batches);
  const Result<int> found = cuda_device_count();
  CHECK(made.ok() == found.ok());
  CHECK(made.status().code == found.status().code);
  CHECK(made.message() == found.message());
}

TEST_CASE("cuda projection: what does not fit is refused, and nothing is launched") {
  if (!gpu::is_here()) return;
  Random random(3);
  const Weights weights(256, 128, 4, 0, random);
  const std::vector<Index> batches = {7};
  auto made = BlasProjection::make(weights.matrices(false, false), 4, batches);
  REQUIRE(made.ok());
  BlasProjection& projection = made.value();
  gpu::OwnStream stream;
  const gpu::Array<Bf16> rows(std::vector<Bf16>(8 * 256)), out(std::vector<Bf16>(8 * 640));
  const gpu::Array<std::byte> workspace(std::vector<std::byte>(at(projection.workspace_bytes())));
  const auto call = [&](Index tokens, Index inputs, Index bytes) {
    return projection.project(stream.device().stream, rows.read(tokens, inputs),
                              out.view(tokens, 5, 128), workspace.view(bytes));
  };
  const Index bytes = projection.workspace_bytes();
  CHECK(call(7, 255, bytes) == Status{Code::shape_mismatch, 0, 256});
  CHECK(call(8, 256, bytes) == Status{Code::unsupported, 0, 8});
  if (bytes > 0) CHECK(call(7, 256, bytes - 1) == Status{Code::workspace_small, 0, bytes});
  CHECK(call(0, 256, bytes).ok());
  CHECK(projection.prepare(0).status().code == Code::invalid_config);
  CHECK(stream.device().wait().ok());
}
