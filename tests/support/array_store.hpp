// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A table in memory that a device reads, which the test owns.

#include <engram/storage/row_extent.hpp>
#include <engram/storage/strided_rows.hpp>

/// A table's rows in memory that a device reads.
struct ArrayStore {
  using space_type = engram::DeviceSpace;

  engram::StridedRows rows;
  engram::RowShape shape;

  engram::Index num_rows() const noexcept { return shape.num_rows; }
  engram::Index row_bytes() const noexcept { return shape.row_bytes; }
  engram::Index scale_bytes() const noexcept { return shape.scale_bytes; }
  engram::StridedRows ref() const noexcept { return rows; }
};
