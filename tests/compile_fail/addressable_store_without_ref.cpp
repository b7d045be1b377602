// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A store that does not fit is refused where a table is made of it.
// expect: engram: an AddressableStore needs 'ref() const', a functor 'RowBytes operator()(Index row)
#include <engram/engram.hpp>

struct OneRow {
  using space_type = engram::HostSpace;
  std::byte bytes[8] = {};
  engram::Index num_rows() const { return 1; }
  engram::Index row_bytes() const { return 8; }
  engram::Index scale_bytes() const { return 0; }
#ifndef ENGRAM_MUST_FAIL
  engram::StridedRows ref() const { return {bytes, 8, 0}; }
#endif
};

engram::Index rows() {
  const auto table = engram::Table<OneRow, engram::F32Codec>::make({}, {}, 2);
  return table.ok() ? table.value().num_rows() : 0;
}
