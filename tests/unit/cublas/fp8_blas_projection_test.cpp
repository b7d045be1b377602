// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the fp8 projection asks of cuBLAS gives what the CPU's projection of the same weights gives.
#include "../cuda/threaded_warp.hpp"
#include "blas_double.hpp"

#include <catch.hpp>
#include <contains.hpp>
#include <elements.hpp>
#include <engram/cublas/fp8_blas_projection.hpp>

#include <cmath>
#include <vector>

using namespace engram;
using elements::at;

namespace {

/// Threads that play the GPU, on a stream of a name.
struct OnStream : ThreadedDevice {
  cudaStream_t stream = reinterpret_cast<cudaStream_t>(64);
};

/// Elements at a multiple of 64 bytes, as cuBLAS wants them.
template <class T>
class Aligned {
 public:
  explicit Aligned(Index count) : bytes_(at(count * Index{sizeof(T)} + 64)), count_(count) {}
  T* data() {
    const auto place = reinterpret_cast<std::uintptr_t>(bytes_.data());
    return reinterpret_cast<T*>(bytes_.data() + (64 - place % 64) % 64);
  }
  Index size() const { return count_; }

 private:
  std::vector<std::byte> bytes_;
  Index count_;
};

struct Model {
  Index inputs, width, branches;
  Aligned<E4m3> codes;
  Aligned<E8m0> scales, tiles;

  Model(Index m, Index d, Index g, Random& random)
      : inputs(m),
        width(d),
        branches(g),
        codes(outputs() * m),
        scales(outputs() / 32 * (m / 32)),
        tiles(ScaleTiles{outputs(), m / 32}.bytes()) {
    for (Index i = 0; i < codes.size(); ++i)
      codes.data()[i].bits = static_cast<std::uint8_t>(random.below(2) << 7 | random.below(0x70));
    for (Index i = 0; i < scales.size(); ++i)
      scales.data()[i].bits = static_cast<std::uint8_t>(120 + random.below(8));
    for (Index i = 0; i < tiles.size(); ++i) tiles.data()[i].bits = 0xFF;  // NaN, where not written
    REQUIRE(tile_scales(ThreadedDevice(),
                        DeviceView<const E8m0, 2>(scales.data(), outputs() / 32, m / 32),
                        DeviceView<E8m0, 1>(tiles.data(), tiles.size()))
                .ok());
  }
  Index outputs() const { return (branches + 1) * width; }
  Fp8BlasMatrix matrix() {
    return {DeviceView<const E4m3, 2>(codes.data(), outputs(), inputs),
            DeviceView<const E8m0, 1>(tiles.data(), tiles.size())};
  }
  /// [T, G + 1, D] by the CPU.
  std::vector<Bf16> reference(const Bf16* e, Index tokens) {
    const auto projection =
        Fp8Projection::make(View<const E4m3, 2>(codes.data(), outputs(), inputs),
                            View<const E8m0, 2>(scales.data(), outputs() / 32, inputs / 32),
                            branches)
            .value();
    std::vector<Bf16> rows(e, e + tokens * inputs), out(at(tokens * outputs()));
    const View<Bf16, 2> x(rows.data(), tokens, inputs);
    projection.prepare(x);
    const View<Bf16, 3> segments(out.data(), tokens, branches + 1, width);
    for (int s = 0; s <= branches; ++s)
      for (Index tile = 0; tile < projection.tiles(); ++tile)
        projection.project(x, s, tile, segments.at<1>(s));
    return out;
  }
};

void fill(Aligned<Bf16>& e, Random& random) {
  for (Index i = 0; i < e.size(); ++i)
    e.data()[i] = from_float<Bf16>(static_cast<float>(random.below(2001) - 1000) / 500.0f);
}

}  // namespace

TEST_CASE("fp8 blas projection: cuBLAS is asked for the product that the CPU makes") {
  struct Shape {
    Index inputs, width, branches;
  };
  const std::vector<Index> batches = {1, 5};
  for (const Shape& s : {Shape{64, 32, 1}, Shape{160, 96, 2}, Shape{256, 32, 4}}) {
    INFO(s.inputs << " to " << s.branches << " x " << s.width);
    Random random(1);
    Model model(s.inputs, s.width, s.branches, random);
    calls = {};
    auto made = Fp8BlasProjection::make(model.matrix(), s.branches, batches);
    INFO(made.message());
    REQUIRE(made.ok());
    const Fp8BlasProjection projection(std::move(made.value()));
    CHECK(projection.input_width() == s.inputs);
    CHECK(projection.output_width() == s.width);
    CHECK(projection.branches() == s.branches);
    for (const Index tokens : batches)
      for (const Index skip : {0, 1, 77}) {
        Aligned<Bf16> e(tokens * s.inputs), out(tokens * model.outputs());
        fill(e, random);
        std::vector<std::byte> workspace(at(projection.workspace_bytes() + skip), std::byte{0xFF});
        calls.products = 0;
        REQUIRE(projection
                    .project(OnStream(), DeviceView<const Bf16, 2>(e.data(), tokens, s.inputs),
                             DeviceView<Bf16, 3>(out.data(), tokens, s.branches + 1, s.width),
                             DeviceView<std::byte, 1>(workspace.data() + skip,
                                                      projection.workspace_bytes()))
                    .ok());
        CHECK(calls.products == 1);
        CHECK(calls.stream == OnStream().stream);
        CHECK(divides(256, calls.workspace));
        CHECK(calls.workspace + calls.workspace_bytes <= workspace.data() + workspace.size());
        const std::vector<Bf16> expected = model.reference(e.data(), tokens);
        Index wrong = 0;
        for (std::size_t i = 0; i < expected.size(); ++i) {
          const float x = to_float(expected[i]);
          wrong += !(std::abs(to_float(out.data()[i]) - x) <= 0x1p-7f * std::abs(x) + 1e-2f);
        }
        CHECK(wrong == 0);
      }
  }
}

TEST_CASE("fp8 blas projection: what cannot be is refused, and no product is made") {
  Random random(2);
  Model model(64, 32, 1, random);
  const std::vector<Index> batches = {5}, none;
  calls = {};
  const auto refused = [&](Fp8BlasMatrix matrix, Index branches) {
    return Fp8BlasProjection::make(matrix, branches, none).status();
  };
  using Codes = DeviceView<const E4m3, 2>;
  using Scales = DeviceView<const E8m0, 1>;
  const Fp8BlasMatrix good = model.matrix();
  CHECK(refused(good, 0).code == Code::shape_mismatch);
  CHECK(refused(good, 2).code == Code::shape_mismatch);
  CHECK(refused({Codes(good.codes.data(), 64, 48), good.scales}, 1).code == Code::shape_mismatch);
  CHECK(refused({good.codes, good.scales.slice(0, 511)}, 1) ==
        Status{Code::shape_mismatch, 0, 512});
  CHECK(refused({Codes(good.codes.data() + 8, 64, 64), good.scales}, 1) ==
        Status{Code::unsupported, 0, 16});
  CHECK(refused({good.codes.with_stride<0>(48), good.scales}, 1) ==
        Status{Code::shape_mismatch, 0, 64});
  CHECK(refused({good.codes.with_stride<0>(72), good.scales}, 1) ==
        Status{Code::unsupported, 0, 16});
  CHECK(refused({good.codes, Scales(good.scales.data() + 1, 512)}, 1) ==
        Status{Code::unsupported, 0, 16});

  calls.capability = 9;
  const auto hopper = Fp8BlasProjection::make(good, 1, none);
  CHECK(hopper.status() == Status{Code::unsupported});
  CHECK(contains(hopper.message(), "need a GPU of compute capability 10 or above, this one has 9"));
  calls = {};

  calls.finds_none = true;
  const auto made = Fp8BlasProjection::make(good, 1, batches);
  CHECK(made.status() == Status{Code::unsupported, CUBLAS_STATUS_NOT_SUPPORTED});
  CHECK(contains(made.message(), "CUBLAS_STATUS_NOT_SUPPORTED"));
  calls = {};

  auto here = Fp8BlasProjection::make(good, 1, batches);
  REQUIRE(here.ok());
  Fp8BlasProjection& projection = here.value();
  CHECK(projection.prepare(0).status().code == Code::invalid_config);
  const int searches = calls.searches;
  REQUIRE(projection.prepare(5).ok());
  CHECK(calls.searches == searches);
  Aligned<Bf16> e(6 * 64), out(6 * 64);
  std::vector<std::byte> workspace(at(projection.workspace_bytes()));
  const auto project = [&](Index tokens, Index bytes) {
    return projection.project(OnStream(), DeviceView<const Bf16, 2>(e.data(), tokens, 64),
                              DeviceView<Bf16, 3>(out.data(), tokens, 2, 32),
                              DeviceView<std::byte, 1>(workspace.data(), bytes));
  };
  const Index bytes = projection.workspace_bytes();
  CHECK(project(6, bytes) == Status{Code::unsupported, 0, 6});
  CHECK(project(5, bytes - 1) == Status{Code::workspace_small, 0, bytes});
  CHECK(project(0, bytes).ok());
  CHECK(calls.products == 0);
  calls.product_status = CUBLAS_STATUS_EXECUTION_FAILED;
  CHECK(project(5, bytes) == Status{Code::device, CUBLAS_STATUS_EXECUTION_FAILED});
  calls = {};
}
