// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Finds added tokens in text: the leftmost match, of those the longest, then on behind it.

#include <engram/core/status.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace engram::bpe {

/// A text to find and what it stands for.
struct Needle {
  std::string text;
  std::int32_t id = -1;
  bool lstrip = false;  ///< swallows the white space before it
  bool rstrip = false;  ///< and the white space behind it
};

/// Finds many texts in one pass. Const calls may run concurrently.
class AddedTokenMatcher {
 public:
  /// Fails with invalid_config for two equal texts. Precondition: no text is empty.
  static Result<AddedTokenMatcher> make(std::vector<Needle> needles);

  /// Part of a text: an added token, or text (id -1) to be cut further.
  struct Part {
    std::string_view text;
    std::int32_t id = -1;
  };
  /// The parts of `text` in order, none empty. Appends to `parts`.
  void split(std::string_view text, std::vector<Part>& parts) const;

  bool empty() const noexcept { return needles_.empty(); }

 private:
  struct Node {
    std::int32_t first_child = -1;
    std::int32_t next_sibling = -1;
    std::int32_t needle = -1;  // ends here
    unsigned char byte = 0;
  };
  std::int32_t child(std::int32_t node, unsigned char byte) const;
  /// The longest needle at the start of `text`, or -1.
  std::int32_t longest(std::string_view text) const;

  std::vector<Needle> needles_;
  std::vector<Node> nodes_;
  std::int32_t root_[256] = {};  // node for the first byte, or -1
};

}  // namespace engram::bpe
