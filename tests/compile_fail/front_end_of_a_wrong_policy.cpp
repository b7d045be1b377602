// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A policy that does not fit is refused where it is composed, with the same sentence.
// expect: engram: a TokenCompressor needs 'CanonicalId operator()(Index token) const'
#include <engram/engram.hpp>

struct Modulo {
  engram::Index vocab_size() const { return 256; }
  engram::Index canonical_size() const { return 16; }
#ifdef ENGRAM_MUST_FAIL
  int operator()(engram::Index token) const { return static_cast<int>(token % 16); }
#else
  engram::CanonicalId operator()(engram::Index token) const {
    return engram::CanonicalId{static_cast<int>(token % 16)};
  }
#endif
  std::string digest() const { return "none"; }
};

engram::Index columns(const engram::Layout& layout) {
  const auto front = engram::make_front_end(layout, Modulo());
  return front.ok() ? front.value().num_columns() : 0;
}
