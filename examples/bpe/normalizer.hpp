// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The `normalizer` entry of a tokenizer.json: what is done to the text before it is cut. The four
// Unicode normal forms, by ICU; most byte-level tokenizers have none or NFC. (What token maps fold
// together is another matter: engram/unicode/normalizer.hpp.)

#include <engram/core/status.hpp>

#include <string>
#include <string_view>
#include <vector>

ENGRAM_BEGIN_NAMESPACE
class Json;
ENGRAM_END_NAMESPACE

namespace engram::bpe {

/// A chain of normal forms. Const calls may run concurrently.
class Normalizer {
 public:
  /// From the JSON of the entry: null, Sequence, NFC, NFD, NFKC, NFKD. Fails with unsupported,
  /// naming the kind, or corrupt.
  static Result<Normalizer> make(const Json& json);

  /// The text in normal form, as far as Unicode 9 knows its characters; the others stay as they
  /// are, like in the `tokenizers` package.
  ///
  /// Precondition: valid UTF-8. Fails with unsupported (ICU without its data) or out_of_memory.
  Result<std::string> apply(std::string_view text) const;

  /// True when every text stays as it is.
  bool is_identity() const noexcept { return forms_.empty(); }

 private:
  enum class Form { nfc, nfd, nfkc, nfkd };
  static Result<void> read(const Json& json, Normalizer& out);
  static Result<std::string> apply(std::string_view text, Form form);
  std::vector<Form> forms_;
};

}  // namespace engram::bpe
