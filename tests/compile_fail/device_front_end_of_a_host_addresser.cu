// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A GPU does not run an addresser that is for hosts only.
// expect: engram: this Addresser runs on the host only; a GPU has MultiplicativeXor and Polynomial
#include <engram/cuda/device_front_end.cuh>
#include <engram/tokenizer/identity.hpp>

#ifdef ENGRAM_MUST_FAIL
struct Addressing : engram::MultiplicativeXor {
  static constexpr bool host_only = true;
};
#else
using Addressing = engram::MultiplicativeXor;
#endif

auto on_gpu(
    const engram::FrontEnd<engram::IdentityCompressor,
                           engram::SuffixNgrams<engram::RuntimeBoundary>, Addressing>& front) {
  return engram::make_device_front_end(front);
}
