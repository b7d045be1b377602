// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: engram: a Projection needs 'Index tiles() const'
#include <engram/engram.hpp>

struct Zeros {
  using input_type = float;
  using output_type = float;
  static constexpr bool batch_invariant = true;
  engram::Index input_width() const { return 8; }
  engram::Index output_width() const { return 4; }
  engram::Index branches() const { return 1; }
#ifndef ENGRAM_MUST_FAIL
  engram::Index tiles() const { return 1; }
#endif
  void project(engram::View<const float, 2>, int, engram::Index, engram::View<float, 2> out) const {
    for (engram::Index t = 0; t < out.extent(0); ++t)
      for (engram::Index d = 0; d < 4; ++d) out(t, d) = 0;
  }
};
static_assert(engram::check_projection<Zeros>());
