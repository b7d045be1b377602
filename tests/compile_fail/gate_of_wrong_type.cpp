// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A gate that does not fit is refused where the layer is composed, with the same sentence.
// expect: engram: a Gate needs 'float operator()(float score) const'
#include <engram/engram.hpp>

struct HalfGate {
#ifdef ENGRAM_MUST_FAIL
  double operator()(double score) const { return score > 0 ? 0.5 : 0; }
#else
  float operator()(float score) const { return score > 0 ? 0.5f : 0; }
#endif
};

engram::Index width(engram::AnyTable& table, const engram::ReferenceProjection<float>& projection) {
  const engram::EngramLayer layer(table, projection, {}, {}, HalfGate());
  return layer.width();
}
