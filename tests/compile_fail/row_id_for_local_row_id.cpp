// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A row of the whole table does not become a row of one rank's part of it.
// expect-match: RowId.*LocalRowId
#include <engram/core/ids.hpp>

engram::Index read(engram::LocalRowId row) { return engram::to_integer(row); }

engram::Index call(engram::RowId row) {
#ifdef ENGRAM_MUST_FAIL
  return read(row);
#else
  return read(engram::LocalRowId{engram::to_integer(row)});
#endif
}
