// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A gate that a layer takes can still lack what training needs of it.
// expect: engram: to be trained through, a Gate needs 'float slope(float score) const'
#include <engram/gating/gate.hpp>

struct HalfGate {
  float operator()(float score) const { return score > 0 ? 0.5f : 0; }
#ifndef ENGRAM_MUST_FAIL
  float slope(float) const { return 0; }
#endif
};
static_assert(engram::check_differentiable_gate<HalfGate>());
