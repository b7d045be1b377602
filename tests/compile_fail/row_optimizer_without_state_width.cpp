// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: engram: a RowOptimizer needs 'Index state_width(Index width) const'
#include <engram/training/row_optimizer.hpp>

struct PlainSteps {
#ifndef ENGRAM_MUST_FAIL
  engram::Index state_width(engram::Index) const { return 0; }
#endif
  template <class Lanes>
  int begin(const Lanes&, const float*, float*, engram::Index) const {
    return 0;
  }
  template <class Lanes>
  typename Lanes::Float direction(const Lanes& lanes, int, const float* gradient, float*,
                                  engram::Index d, engram::Index width) const {
    return lanes.load(gradient + d, width - d);
  }
};
static_assert(engram::check_row_optimizer<PlainSteps>());
