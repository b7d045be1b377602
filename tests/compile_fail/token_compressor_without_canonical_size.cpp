// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: engram: a TokenCompressor needs 'Index canonical_size() const'
#include <engram/engram.hpp>

struct Halve {
  engram::Index vocab_size() const { return 256; }
#ifndef ENGRAM_MUST_FAIL
  engram::Index canonical_size() const { return 128; }
#endif
  engram::CanonicalId operator()(engram::Index token) const {
    return engram::CanonicalId{static_cast<int>(token / 2)};
  }
  std::string digest() const { return "none"; }
};
static_assert(engram::check_token_compressor<Halve>());
