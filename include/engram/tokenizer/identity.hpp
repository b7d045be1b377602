// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// No compression: token ids are canonical ids. Qwen's variant hashes raw ids; callers that hold
// canonical ids already use it too.

#include <engram/tokenizer/compressor.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Canonical id = token id, for a vocabulary of `vocab_size` tokens (at most 2^31).
class IdentityCompressor {
 public:
  constexpr explicit IdentityCompressor(Index vocab_size) noexcept : vocab_size_(vocab_size) {}

  constexpr Index vocab_size() const noexcept { return vocab_size_; }
  constexpr Index canonical_size() const noexcept { return vocab_size_; }
  constexpr CanonicalId operator()(Index token) const noexcept {
    return CanonicalId{static_cast<std::int32_t>(token)};
  }
  /// Always "none": there is no map.
  std::string digest() const { return "none"; }

 private:
  Index vocab_size_;
};
static_assert(check_token_compressor<IdentityCompressor>());

ENGRAM_END_NAMESPACE
