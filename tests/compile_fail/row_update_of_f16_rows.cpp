// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: engram: rows of float and bf16 can be trained
#include <engram/storage/host_store.hpp>
#include <engram/training/row_update.hpp>

#ifdef ENGRAM_MUST_FAIL
using Codec = engram::F16Codec;
#else
using Codec = engram::Bf16Codec;
#endif

engram::Status step(engram::Table<engram::HostStore, Codec>& table,
                    const engram::RowGradients<std::int32_t>& gradients) {
  return engram::update_rows(table, gradients, {}, engram::Sgd{}, engram::RowStep{});
}
