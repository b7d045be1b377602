// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: engram: a Device needs 'bool agree(bool yes) const'
#include <engram/engram.hpp>

struct Inline {
  using space_type = engram::HostSpace;
  template <class Body>
  void for_items(engram::Index n, const Body& body) const {
    engram::run_items(body, {0, n});
  }
#ifdef ENGRAM_MUST_FAIL
  void agree(bool) const {}
#else
  bool agree(bool yes) const { return yes; }
#endif
  void wait() const {}
};
static_assert(engram::check_device<Inline>());
