// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: engram: an NgramExtractor needs 'NgramWindow push(NgramState&, CanonicalId, Mark) const'
#include <engram/engram.hpp>

struct LastTokenOnly {
  int max_ngram_size() const { return 2; }
  engram::NgramState initial_state() const { return engram::initial_ngram_state(2); }
#ifndef ENGRAM_MUST_FAIL
  engram::NgramWindow push(engram::NgramState&, engram::CanonicalId, engram::Mark) const {
    return {};
  }
#endif
  engram::BoundaryRule boundary_rule() const { return {}; }
};
static_assert(engram::check_ngram_extractor<LastTokenOnly>());
