// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a projection on a GPU takes: weights that fit together and arrays where they must be. No
// element is read, so that the places here are no memory.
#include <catch.hpp>
#include <contains.hpp>
#include <engram/cublas/projection_shapes.hpp>

#include <vector>

using namespace engram;

namespace {

Bf16* place(std::uintptr_t at) { return reinterpret_cast<Bf16*>(at); }

BlasMatrix matrix(Index outputs, Index inputs, Index bias = 0) {
  return {DeviceView<const Bf16, 2>(place(4096), outputs, inputs),
          DeviceView<const Bf16, 1>(bias > 0 ? place(8192) : nullptr, bias)};
}

DeviceView<const Bf16, 2> rows(Index tokens, Index inputs, std::uintptr_t at = 4096) {
  return DeviceView<const Bf16, 2>(place(at), tokens, inputs);
}

DeviceView<Bf16, 3> segments(Index tokens, Index count, Index width, std::uintptr_t at = 4096) {
  return DeviceView<Bf16, 3>(place(at), tokens, count, width);
}

}  // namespace

TEST_CASE("projection shapes: one fused matrix, or the keys' and the value's") {
  for (const Index bias : {Index{0}, Index{50}}) {
    const auto fused = projection_shape(std::vector<BlasMatrix>{matrix(50, 24, bias)}, 4);
    REQUIRE(fused.ok());
    CHECK(fused.value().inputs == 24);
    CHECK(fused.value().width == 10);
    CHECK(fused.value().branches == 4);
  }
  const auto split =
      projection_shape(std::vector<BlasMatrix>{matrix(40, 24), matrix(10, 24, 10)}, 4);
  REQUIRE(split.ok());
  CHECK(split.value().inputs == 24);
  CHECK(split.value().width == 10);
  CHECK(split.value().branches == 4);
}

TEST_CASE("projection shapes: a bias begins at a multiple of 16 bytes, unless it is empty") {
  std::vector<BlasMatrix> matrices = {matrix(50, 24, 50)};
  matrices[0].bias = DeviceView<const Bf16, 1>(place(8194), 50);
  const auto refused = projection_shape(matrices, 4);
  CHECK(refused.status() == Status{Code::unsupported, 0, 16});
  CHECK(contains(refused.message(), "the bias of matrix 0 does not begin at a multiple of 16"));
  matrices[0].bias = DeviceView<const Bf16, 1>(place(8194), 0);
  CHECK(projection_shape(matrices, 4).ok());
}

TEST_CASE("projection shapes: weights that do not fit are refused in a sentence") {
  const auto check = [](const std::vector<BlasMatrix>& matrices, Index branches,
                        const std::string& why) {
    const auto shape = projection_shape(matrices, branches);
    CHECK(shape.status() == Status{Code::shape_mismatch});
    CHECK(contains(shape.message(), why));
  };
  check({}, 4, "0 matrices, expected one");
  check({matrix(8, 8), matrix(8, 8), matrix(8, 8)}, 1, "3 matrices, expected one");
  check({matrix(50, 24)}, 0, "0 branches");
  check({matrix(51, 24)}, 4, "matrix 0 has 51 outputs, expected a multiple of 5");
  check({matrix(41, 24), matrix(10, 24)}, 4, "matrix 0 has 41 outputs, expected a multiple of 4");
  check({matrix(40, 24), matrix(11, 24)}, 4, "has 11 outputs, not the 10 of a key");
  check({matrix(40, 24), matrix(10, 25)}, 4, "matrix 1 is [10, 25], expected 24 inputs");
  check({matrix(0, 24)}, 4, "matrix 0 is [0, 24]");
  check({matrix(50, 0)}, 4, "matrix 0 is [50, 0], expected 1 inputs");
  check({matrix(50, 24, 49)}, 4, "the bias of matrix 0 has 49 elements, not 50");
  check({matrix(40, 24, 40), matrix(10, 24, 40)}, 4, "the bias of matrix 1 has 40 elements");
  BlasMatrix close = matrix(50, 24);
  close.weight = close.weight.with_stride<0>(23);
  check({close}, 4, "rows of matrix 0 are 23 elements apart, expected at least 24");
}

TEST_CASE("projection shapes: arrays of a call that do not fit are refused") {
  const ProjectionShape shape{24, 10, 4};
  const auto mismatch = [](Index expected) { return Status{Code::shape_mismatch, 0, expected}; };
  CHECK(check_blas_call(shape, rows(7, 24), segments(7, 5, 10)).ok());
  CHECK(check_blas_call(shape, rows(0, 24), segments(0, 5, 10)).ok());
  CHECK(check_blas_call(shape, rows(7, 23), segments(7, 5, 10)) == mismatch(24));
  CHECK(check_blas_call(shape, rows(7, 24).with_stride<0>(32), segments(7, 5, 10)) == mismatch(24));
  CHECK(check_blas_call(shape, rows(7, 24), segments(6, 5, 10)) == mismatch(7));
  CHECK(check_blas_call(shape, rows(7, 24), segments(7, 4, 10)) == mismatch(5));
  CHECK(check_blas_call(shape, rows(7, 24), segments(7, 5, 11)) == mismatch(10));
  CHECK(check_blas_call(shape, rows(7, 24), segments(7, 5, 10).with_stride<1>(12)) == mismatch(10));
  CHECK(check_blas_call(shape, rows(7, 24), segments(7, 5, 10).with_stride<0>(64)) == mismatch(50));
  CHECK(check_blas_call(shape, rows(7, 24, 4104), segments(7, 5, 10)) ==
        Status{Code::unsupported, 0, 16});
  CHECK(check_blas_call(shape, rows(7, 24), segments(7, 5, 10, 4098)) ==
        Status{Code::unsupported, 0, 16});
}

TEST_CASE("projection shapes: keys and value are views of the segments") {
  std::vector<int> all(3 * 5 * 10);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
  const View<int, 3> written(all.data(), 3, 5, 10);
  const View<int, 3> keys = keys_of(written);
  const View<int, 2> value = value_of(written);
  CHECK(keys.extent(0) == 3);
  CHECK(keys.extent(1) == 4);
  CHECK(keys.extent(2) == 10);
  CHECK(value.extent(0) == 3);
  CHECK(value.extent(1) == 10);
  for (Index t = 0; t < 3; ++t)
    for (Index d = 0; d < 10; ++d) {
      for (Index g = 0; g < 4; ++g) CHECK(keys(t, g, d) == written(t, g, d));
      CHECK(value(t, d) == written(t, 4, d));
    }
}
