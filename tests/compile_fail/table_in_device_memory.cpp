// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The CPU does not gather from a table in GPU memory.
// expect: engram: this table is in memory that the device does not reach
#include <engram/engram.hpp>

struct OneRow {
#ifdef ENGRAM_MUST_FAIL
  using space_type = engram::DeviceSpace;
#else
  using space_type = engram::PinnedSpace;
#endif
  const std::byte* bytes = nullptr;
  engram::Index num_rows() const { return 1; }
  engram::Index row_bytes() const { return 8; }
  engram::Index scale_bytes() const { return 0; }
  engram::StridedRows ref() const { return {bytes, 8, 0}; }
};

engram::Status call(const engram::Table<OneRow, engram::F32Codec>& table,
                    engram::View<const int, 2> rows, engram::View<float, 2> out) {
  return table.gather(rows, out);
}
