// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the projection asks of cuBLAS gives what the reference gives.
#include "blas_double.hpp"

#include <catch.hpp>
#include <contains.hpp>
#include <elements.hpp>
#include <engram/cublas/blas_projection.hpp>
#include <engram/layer/reference_projection.hpp>
#include <projection_case.hpp>

#include <cmath>
#include <vector>

using namespace engram;
using elements::at;
using elements::random_elements;

namespace {

struct Model : projection_case::Weights {
  std::vector<float> float_bias;

  Model(Index m, Index d, Index g, Index padding, Random& random)
      : Weights(m, d, g, padding, random) {
    for (const Bf16 b : bias) float_bias.push_back(to_float(b));
  }
  std::vector<BlasMatrix> matrices(bool is_split, bool with_bias) const {
    return Weights::matrices(matrix.data(), with_bias ? bias.data() : nullptr, is_split);
  }
  /// [T, G + 1, D] by the library's loop.
  std::vector<Bf16> reference(const std::vector<Bf16>& e, bool with_bias) const {
    const View<const Bf16, 2> all(matrix.data(), (branches + 1) * width, inputs);
    ProjectionWeights<Bf16> weights = fused_weights(all.with_stride<0>(stride), branches);
    if (with_bias) {
      weights.key_bias = View<const float, 2>(float_bias.data(), branches, width);
      weights.value_bias = View<const float, 1>(float_bias.data() + branches * width, width);
    }
    const auto projection = ReferenceProjection<Bf16>::make(weights).value();
    const Index tokens = static_cast<Index>(e.size()) / inputs;
    std::vector<Bf16> out(at(tokens * (branches + 1) * width));
    const View<Bf16, 3> segments(out.data(), tokens, branches + 1, width);
    for (int s = 0; s <= branches; ++s)
      for (Index tile = 0; tile < projection.tiles(); ++tile)
        projection.project(View<const Bf16, 2>(e.data(), tokens, inputs), s, tile,
                           segments.at<1>(s));
    return out;
  }
};

Status project(const BlasProjection& projection, const std::vector<Bf16>& e, std::vector<Bf16>& out,
               std::vector<std::byte>& workspace, Index skip = 0) {
  const Index tokens = static_cast<Index>(e.size()) / projection.input_width();
  return projection.project(
      reinterpret_cast<cudaStream_t>(64),
      DeviceView<const Bf16, 2>(e.data(), tokens, projection.input_width()),
      DeviceView<Bf16, 3>(out.data(), tokens, projection.branches() + 1, projection.output_width()),
      DeviceView<std::byte, 1>(workspace.data() + skip,
                               static_cast<Index>(workspace.size()) - skip));
}

}  // namespace

TEST_CASE("blas projection: cuBLAS is asked for the product that the reference makes") {
  struct Shape {
    Index inputs, width, branches, padding;
  };
  const std::vector<Index> batches = {1, 7, 40};
  for (const Shape& s : {Shape{256, 128, 4, 0}, Shape{64, 16, 2, 8}, Shape{33, 7, 3, 0}})
    for (const bool is_split : {false, true})
      for (const bool with_bias : {false, true}) {
        INFO(s.inputs << " to " << s.branches << " x " << s.width << ", split " << is_split
                      << ", bias " << with_bias);
        Random random(1);
        const Model model(s.inputs, s.width, s.branches, s.padding, random);
        calls = {};
        const auto made =
            BlasProjection::make(model.matrices(is_split, with_bias), s.branches, batches);
        if (is_split && with_bias && s.width * s.branches % 8 != 0) {  // where the value's begins
          CHECK(made.status() == Status{Code::unsupported, 0, 16});
          CHECK(
              contains(made.message(), "the bias of matrix 1 does not begin at a multiple of 16"));
          continue;
        }
        REQUIRE(made.ok());
        const BlasProjection& projection = made.value();
        CHECK(projection.input_width() == s.inputs);
        CHECK(projection.output_width() == s.width);
        CHECK(projection.branches() == s.branches);
        const int searches = calls.searches;
        CHECK(searches == 3 * (is_split ? 2 : 1));
        for (const Index tokens : batches)
          for (const Index skip : {0, 1, 77}) {
            const std::vector<Bf16> e = random_elements<Bf16>(tokens * s.inputs, random);
            const std::vector<Bf16> expected = model.reference(e, with_bias);
            std::vector<Bf16> out(expected.size(), Bf16{0x7FC0});
            std::vector<std::byte> workspace(at(projection.workspace_bytes() + skip));
            calls.products = 0;
            REQUIRE(project(projection, e, out, workspace, skip).ok());
            CHECK(calls.products == (is_split ? 2 : 1));
            CHECK(calls.stream == reinterpret_cast<cudaStream_t>(64));
            CHECK(divides(256, calls.workspace));
            CHECK(calls.workspace >= workspace.data() + skip);
            CHECK(calls.workspace + calls.workspace_bytes <= workspace.data() + workspace.size());
            Index wrong = 0;
            for (std::size_t i = 0; i < out.size(); ++i) {
              const float x = to_float(expected[i]);
              wrong += !(std::abs(to_float(out[i]) - x) <= 0x1p-7f * std::abs(x) + 1e-3f);
            }
            CHECK(wrong == 0);
          }
        CHECK(calls.searches == searches);  // no call chooses
      }
}

TEST_CASE("blas projection: what cannot be is refused, and no product is made") {
  Random random(2);
  const Model model(64, 16, 4, 0, random);
  const std::vector<Index> batches = {7};
  calls = {};
  auto made = BlasProjection::make(model.matrices(false, false), 4, batches);
  REQUIRE(made.ok());
  BlasProjection& projection = made.value();
  const std::vector<Bf16> seven = random_elements<Bf16>(7 * 64, random), eight(8 * 64);
  std::vector<Bf16> out(8 * 80);
  std::vector<std::byte> workspace(at(projection.workspace_bytes()));
  std::vector<std::byte> small(workspace.size() - 1);
  CHECK(project(projection, eight, out, workspace) == Status{Code::unsupported, 0, 8});
  CHECK(project(projection, seven, out, small) ==
        Status{Code::workspace_small, 0, projection.workspace_bytes()});
  CHECK(project(projection, {}, out, workspace).ok());
  CHECK(calls.products == 0);

  calls.product_status = CUBLAS_STATUS_EXECUTION_FAILED;
  CHECK(project(projection, seven, out, workspace) ==
        Status{Code::device, CUBLAS_STATUS_EXECUTION_FAILED});
  calls = {};

  // One more T that wants a larger workspace: the first T is as content as before.
  calls.workspace_wanted = 100'000;
  REQUIRE(projection.prepare(8).ok());
  CHECK(projection.workspace_bytes() >= 100'000);
  CHECK(project(projection, seven, out, workspace).ok());
  CHECK(project(projection, eight, out, workspace).code == Code::workspace_small);
  CHECK(calls.searches == 1);
  REQUIRE(projection.prepare(7).ok());  // known
  CHECK(calls.searches == 1);

  CHECK(projection.prepare(0).status().code == Code::invalid_config);
  calls.finds_none = true;
  const Result<void> none = projection.prepare(9);
  CHECK(none.status() == Status{Code::unsupported, CUBLAS_STATUS_NOT_SUPPORTED});
  CHECK(contains(none.message(), "CUBLAS_STATUS_NOT_SUPPORTED"));
  calls = {};
  calls.search_status = CUBLAS_STATUS_INVALID_VALUE;
  const std::vector<Index> nine = {9};
  CHECK(BlasProjection::make(model.matrices(true, true), 4, nine).status() ==
        Status{Code::device, CUBLAS_STATUS_INVALID_VALUE});
  CHECK(BlasProjection::make(model.matrices(true, true), 3, nine).status().code ==
        Code::shape_mismatch);
  calls = {};
}

TEST_CASE("blas projection: without a workspace where none is wanted, and moved with its plans") {
  Random random(3);
  const Model model(64, 16, 4, 0, random);
  calls = {};
  calls.workspace_wanted = 0;
  const std::vector<Index> batches = {7};
  auto made = BlasProjection::make(model.matrices(true, true), 4, batches);
  REQUIRE(made.ok());
  const BlasProjection moved(std::move(made.value()));
  CHECK(moved.workspace_bytes() == 0);
  const std::vector<Bf16> e = random_elements<Bf16>(7 * 64, random);
  std::vector<Bf16> out(7 * 80);
  std::vector<std::byte> none;
  REQUIRE(project(moved, e, out, none).ok());
  CHECK(calls.workspace == nullptr);
  const std::vector<Bf16> expected = model.reference(e, true);
  for (std::size_t i = 0; i < out.size(); i += 13)
    CHECK(std::abs(to_float(out[i]) - to_float(expected[i])) <=
          0x1p-7f * std::abs(to_float(expected[i])) + 1e-3f);
  calls = {};
}
