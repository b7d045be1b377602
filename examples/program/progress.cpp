// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "progress.hpp"

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

namespace engram::program {

bool is_terminal() {
#if __has_include(<unistd.h>)
  return isatty(STDOUT_FILENO) != 0;
#else
  return false;
#endif
}

double seconds_left(double elapsed, double done, double all) {
  return elapsed / done * (all - done);
}

void ProgressLine::show(const std::string& text, bool last) {
  const double elapsed = since_.seconds();
  if (!last && elapsed < next_) return;
  next_ = elapsed + (redrawn_ ? 0.1 : 10);
  if (redrawn_) {
    // What was longer before is covered with blanks.
    const std::size_t blanks = width_ > text.size() ? width_ - text.size() : 0;
    std::fprintf(out_, "\r%s%s%s", text.c_str(), std::string(blanks, ' ').c_str(),
                 last ? "\n" : "");
    width_ = last ? 0 : text.size();
  } else {
    std::fprintf(out_, "%s\n", text.c_str());
  }
  std::fflush(out_);
}

}  // namespace engram::program
