// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Instead of ring.cpp where liburing is not there.

#include "raw_loop.hpp"

namespace engram::read_bench {

Carrier ring_carrier() { return {"io_uring", "not built"}; }

std::unique_ptr<RawLoop> make_ring_loop() { return nullptr; }

Result<Backends> open_ring_backends(const std::vector<TableSegment>&) {
  return fail(Code::unsupported, "io_uring: not built");
}

}  // namespace engram::read_bench
