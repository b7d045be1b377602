// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: engram: a RowOptimizer needs 'lanes::Float direction(lanes, begun, const float* gradient, float* state, Index d, Index width) const'
#include <engram/training/row_optimizer.hpp>

struct PlainSteps {
  engram::Index state_width(engram::Index) const { return 0; }
  template <class Lanes>
  int begin(const Lanes&, const float*, float*, engram::Index) const {
    return 0;
  }
#ifndef ENGRAM_MUST_FAIL
  template <class Lanes>
  typename Lanes::Float direction(const Lanes& lanes, int, const float* gradient, float*,
                                  engram::Index d, engram::Index width) const {
    return lanes.load(gradient + d, width - d);
  }
#endif
};
static_assert(engram::check_row_optimizer<PlainSteps>());
