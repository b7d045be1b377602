// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: engram: a ProjectionGradient needs 'void inputs(View<const float, 3> segments, View<float, 2> to) const'
#include <engram/training/gradients.hpp>

struct Constant {
  using input_type = float;
  engram::Index input_width() const { return 8; }
  engram::Index output_width() const { return 4; }
  engram::Index branches() const { return 1; }
  engram::Index weight_tiles() const { return 1; }
#ifndef ENGRAM_MUST_FAIL
  void inputs(engram::View<const float, 3>, engram::View<float, 2> to) const {
    for (engram::Index t = 0; t < to.extent(0); ++t)
      for (engram::Index m = 0; m < 8; ++m) to(t, m) = 0;
  }
#endif
  void weights(engram::View<const float, 2>, engram::View<const float, 3>, engram::Index,
               const engram::LayerGradients&) const {}
};
static_assert(engram::check_projection_gradient<Constant>());
