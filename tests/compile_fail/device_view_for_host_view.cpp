// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A view of GPU memory does not become a view of CPU memory.
// expect-match: (could not convert|no known conversion|no suitable user-defined conversion).*DeviceSpace
#include <engram/core/view.hpp>

engram::Index length(engram::View<const float, 1> v) { return v.extent(0); }

#ifdef ENGRAM_MUST_FAIL
engram::Index call(engram::View<float, 1, engram::DeviceSpace> v) { return length(v); }
#else
engram::Index call(engram::View<float, 1, engram::PinnedSpace> v) { return length(v); }
#endif
