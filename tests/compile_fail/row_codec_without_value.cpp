// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: engram: a RowCodec needs 'float value(RowBytes row, Index d) const'
#include <engram/engram.hpp>

struct Bytes8 {
  engram::Index code_bytes(engram::Index width) const { return width > 0 ? width : -1; }
  engram::Index scale_bytes(engram::Index) const { return 0; }
#ifdef ENGRAM_MUST_FAIL
  double value(engram::RowBytes row, engram::Index d) const {
    return static_cast<double>(row.codes[d]);
  }
#else
  float value(engram::RowBytes row, engram::Index d) const {
    return static_cast<float>(row.codes[d]);
  }
#endif
};
static_assert(engram::check_row_codec<Bytes8>());
