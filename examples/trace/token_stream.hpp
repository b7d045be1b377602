// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The tokens of a text of any size, a few megabytes of it in memory at a time.

#include "bpe/encoder.hpp"

#include <cstdio>
#include <memory>

namespace engram::trace {

/// Reads a file, or anything else that can be read to an end, and encodes it block by block. A
/// block ends where the tokenizer cuts as well: behind a line end, or else before a blank, where
/// the text around the cut gives the same ids whole and in two.
class TokenStream {
 public:
  /// `block`: bytes of text to take at a time, at least 1. `encoder` must outlive the stream. Fails
  /// with io.
  static Result<TokenStream> open(const bpe::Encoder& encoder, const std::string& path,
                                  std::size_t block = std::size_t{4} << 20);

  /// The ids of the next block; gives false when there is none.
  ///
  /// Fails with io; corrupt (index: the byte in the file) for text that is not UTF-8; unsupported
  /// for 256 MiB in which no place to cut is found.
  Result<bool> next(std::vector<std::int32_t>& ids);

 private:
  struct Closer {
    void operator()(std::FILE* f) const noexcept { std::fclose(f); }
  };

  TokenStream(const bpe::Encoder& encoder, std::string path, std::size_t block)
      : encoder_(&encoder), path_(std::move(path)), block_(block) {}

  /// Where to cut text_, or 0.
  std::size_t find_cut() const;
  bool can_cut(std::size_t at) const;

  const bpe::Encoder* encoder_;
  std::string path_;
  std::size_t block_;
  std::unique_ptr<std::FILE, Closer> file_;
  std::string text_;  // read, and not encoded yet
  Index before_ = 0;  // bytes encoded
  bool ended_ = false;
};

}  // namespace engram::trace
