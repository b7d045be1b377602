// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: engram: an Addresser needs 'Index num_rows(int layer) const'
#include <engram/engram.hpp>

struct OneRow {
  static constexpr bool host_only = true;
  int max_ngram_size() const { return 2; }
  int num_layers() const { return 1; }
  engram::Index num_columns() const { return 1; }
#ifndef ENGRAM_MUST_FAIL
  engram::Index num_rows(int) const { return 1; }
#endif
  engram::Index canonical_size() const { return 256; }
  void address(int, const engram::NgramWindow&, engram::RowId* out) const { *out = {}; }
};
static_assert(engram::check_addresser<OneRow>());
