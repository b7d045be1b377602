// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row ids may be in pinned memory, which the CPU reaches, but not in a GPU's.
// expect: engram: this call runs on the CPU and cannot reach device memory
#include <engram/engram.hpp>

#ifdef ENGRAM_MUST_FAIL
using Space = engram::DeviceSpace;
#else
using Space = engram::PinnedSpace;
#endif

engram::Status call(const engram::EngramLayer<engram::AnyTable, engram::ReferenceProjection<float>,
                                              engram::SignedSqrtGate>& layer,
                    engram::View<const int, 2, Space> rows, engram::View<float, 3> hidden,
                    engram::View<std::byte, 1> workspace) {
  return layer.forward(rows, hidden, hidden, workspace);
}
