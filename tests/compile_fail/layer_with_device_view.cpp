// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A hidden state in GPU memory is not what the CPU's layer takes.
// expect-match: (no matching function for call to|no matching member function for call to|no instance of function template).*forward
// expect-match: DeviceSpace
#include <engram/engram.hpp>

engram::Status call(const engram::EngramLayer<engram::AnyTable, engram::ReferenceProjection<float>,
                                              engram::SignedSqrtGate>& layer,
                    engram::View<const int, 2> rows,
#ifdef ENGRAM_MUST_FAIL
                    engram::View<float, 3, engram::DeviceSpace> hidden,
#else
                    engram::View<float, 3> hidden,
#endif
                    engram::View<std::byte, 1> workspace) {
  return layer.forward(rows, hidden, hidden, workspace);
}
