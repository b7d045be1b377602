// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: engram: a FetchStore's reader needs 'Status wait(Ticket&)'
#include <engram/engram.hpp>

struct Nowhere {
  struct Reader {
    engram::Status submit(engram::View<const engram::RowId, 1>, engram::View<std::byte, 1>,
                          engram::Ticket&) {
      return {engram::Code::io};
    }
    bool poll(engram::Ticket&) { return true; }
#ifndef ENGRAM_MUST_FAIL
    engram::Status wait(engram::Ticket& ticket) { return ticket.status; }
#endif
  };
  engram::Index num_rows() const { return 1; }
  engram::Index row_bytes() const { return 8; }
  engram::Index scale_bytes() const { return 0; }
  Reader reader() const { return {}; }
};
static_assert(engram::check_fetch_store<Nowhere>());
