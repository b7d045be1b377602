// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "token_stream.hpp"

#include <engram/io/file.hpp>
#include <engram/unicode/utf8.hpp>

#include <algorithm>

namespace engram::trace {

namespace {

constexpr std::size_t largest_block = std::size_t{256} << 20;
constexpr std::size_t context = 256;  // bytes on each side that a cut is tried with
constexpr int most_tries = 64;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

}  // namespace

Result<TokenStream> TokenStream::open(const bpe::Encoder& encoder, const std::string& path,
                                      std::size_t block) {
  TokenStream stream(encoder, path, block);
  errno = 0;
  stream.file_.reset(std::fopen(path.c_str(), "rb"));
  if (!stream.file_) return file_failure("open", path, errno);
  return stream;
}

bool TokenStream::can_cut(std::size_t at) const {
  std::size_t first = at - std::min(at, context), end = std::min(text_.size(), at + context);
  while (!begins_character(text_[first])) ++first;
  while (end < text_.size() && !begins_character(text_[end])) ++end;
  const std::string_view around(text_.data() + first, end - first);
  const auto whole = encoder_->encode(around),
             left = encoder_->encode(around.substr(0, at - first)),
             right = encoder_->encode(around.substr(at - first));
  if (!whole.ok() || !left.ok() || !right.ok()) return false;
  std::vector<std::int32_t> both = left.value();
  both.insert(both.end(), right.value().begin(), right.value().end());
  return both == whole.value();
}

std::size_t TokenStream::find_cut() const {
  for (const bool lines : {true, false}) {
    int tries = 0;
    // What follows the cut must be there to look at.
    for (std::size_t at = text_.size() - std::min(text_.size(), context); at > 0; --at) {
      const bool fits = lines ? text_[at - 1] == '\n' && !is_blank(text_[at])
                              : text_[at] == ' ' && !is_blank(text_[at - 1]);
      if (!fits) continue;
      if (can_cut(at)) return at;
      if (++tries == most_tries) break;
    }
  }
  return 0;
}

Result<bool> TokenStream::next(std::vector<std::int32_t>& ids) {
  ids.clear();
  std::size_t wanted = block_ + 2 * context;
  for (;;) {
    const std::size_t had = text_.size();
    if (!ended_ && had < wanted) {
      text_.resize(wanted);
      errno = 0;
      const std::size_t got = std::fread(text_.data() + had, 1, wanted - had, file_.get());
      text_.resize(had + got);
      if (std::ferror(file_.get()) != 0) return file_failure("read", path_, errno);
      ended_ = text_.size() < wanted;
    }
    if (text_.empty()) return false;
    // The last character may go on in what has not been read.
    const std::size_t bad = find_invalid_utf8(text_);
    if (bad < text_.size() && (ended_ || bad + 4 <= text_.size()))
      return fail(Code::corrupt, {path_, ": not UTF-8 at byte ", before_ + static_cast<Index>(bad)},
                  before_ + static_cast<Index>(bad));
    const std::size_t cut = ended_ ? text_.size() : find_cut();
    if (cut > 0) {
      Result<std::vector<std::int32_t>> encoded =
          encoder_->encode(std::string_view(text_).substr(0, cut));
      if (!encoded.ok())
        return fail(encoded.status().code, {path_, ": ", encoded.message()},
                    encoded.status().index);
      ids = std::move(encoded).value();
      text_.erase(0, cut);
      before_ += static_cast<Index>(cut);
      return true;
    }
    if (wanted >= largest_block)
      return fail(Code::unsupported,
                  {path_, ": ", text_.size(), " bytes from byte ", before_,
                   " on without a place where this tokenizer's text can be cut"},
                  before_);
    wanted *= 2;
  }
}

}  // namespace engram::trace
