// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "corpus.hpp"

#include "bpe/trainer.hpp"
#include "headers.hpp"

#include <engram/addressing/multipliers.hpp>
#include <engram/core/sha256.hpp>
#include <engram/io/file.hpp>
#include <engram/io/tokenizer_json.hpp>
#include <engram/unicode/token_map_builder.hpp>

#include <algorithm>
#include <filesystem>
#include <unordered_set>

namespace engram::text {
namespace {

constexpr std::size_t sample_bytes = 3'000'000;  // that the tokenizer is trained on
constexpr std::size_t piece_bytes = 4000;        // of a user's text
constexpr std::size_t held_out_every = 20;

Result<std::vector<NamedText>> read_text(const std::string& path) {
  const Result<std::string> text = read_regular_file(path);
  if (!text.ok()) return text.failure();
  const std::string_view all = text.value();
  if (const std::size_t bad = find_invalid_utf8(all); bad < all.size())
    return fail(Code::corrupt, {path, ": byte ", bad, " is not UTF-8"}, static_cast<Index>(bad));
  std::vector<NamedText> pieces;
  for (std::size_t begin = 0; begin < all.size();) {
    const std::size_t line_end = all.find('\n', std::min(begin + piece_bytes, all.size()));
    std::size_t end = line_end < begin + 2 * piece_bytes ? line_end + 1 : begin + 2 * piece_bytes;
    end = std::min(end, all.size());
    while (end < all.size() && (static_cast<unsigned char>(all[end]) & 0xC0) == 0x80) ++end;
    pieces.push_back(
        {sentence({path, ", byte ", begin}), std::string(all.substr(begin, end - begin))});
    begin = end;
  }
  return pieces;
}

Result<TokenizerJson> train_tokenizer(const std::vector<NamedText>& texts,
                                      std::int32_t vocab_size) {
  bpe::TrainerOptions options;
  options.vocab_size = vocab_size;
  options.special_tokens = {"<|end|>"};
  Result<bpe::Trainer> trainer = bpe::Trainer::make(options);
  if (!trainer.ok()) return trainer.failure();
  std::size_t bytes = 0;
  for (const NamedText& text : texts) {
    if (bytes >= sample_bytes) break;
    bytes += text.text.size();
    if (Result<void> added = trainer.value().add(text.text); !added.ok()) return added.failure();
  }
  return trainer.value().train();
}

/// Which 3-grams of tokens documents before had.
class SeenTrigrams {
 public:
  /// The share of the document's 3-grams that were seen; `keep` adds them.
  double share(const std::vector<std::int32_t>& tokens) const {
    std::size_t seen = 0;
    for (std::size_t i = 2; i < tokens.size(); ++i) seen += seen_.count(key(tokens, i));
    return tokens.size() < 3 ? 0
                             : static_cast<double>(seen) / static_cast<double>(tokens.size() - 2);
  }
  void keep(const std::vector<std::int32_t>& tokens) {
    for (std::size_t i = 2; i < tokens.size(); ++i) seen_.insert(key(tokens, i));
  }

 private:
  static std::uint64_t key(const std::vector<std::int32_t>& t, std::size_t i) {
    return (static_cast<std::uint64_t>(t[i - 2]) << 42) ^
           (static_cast<std::uint64_t>(t[i - 1]) << 21) ^ static_cast<std::uint64_t>(t[i]);
  }
  std::unordered_set<std::uint64_t> seen_;
};

}  // namespace

Result<Corpus> read_corpus(const CorpusOptions& options) {
  std::vector<NamedText> texts;
  if (options.text.empty()) {
    texts = read_headers(static_cast<std::size_t>(options.enough_tokens) * 4);
  } else {
    Result<std::vector<NamedText>> pieces = read_text(options.text);
    if (!pieces.ok()) return pieces.failure();
    texts = std::move(pieces).value();
  }
  if (texts.empty())
    return fail(Code::io, options.text.empty()
                              ? "there are no C++ headers below /usr/include; give --text FILE"
                              : sentence({options.text, " is empty"}));

  Result<TokenizerJson> tokenizer = options.tokenizer.empty()
                                        ? train_tokenizer(texts, options.vocab_size)
                                        : read_tokenizer_json(options.tokenizer);
  if (!tokenizer.ok()) return tokenizer.failure();
  Result<TokenMap> map = build_token_map(tokenizer.value().tokens);
  if (!map.ok()) return map.failure();
  Result<bpe::Encoder> encoder = bpe::Encoder::make(std::move(tokenizer).value());
  if (!encoder.ok()) return encoder.failure();
  Corpus corpus{std::move(encoder).value(), std::move(map).value(), {}, {}, {}, 0, {}, {}};
  if (options.text.empty() && options.tokenizer.empty()) corpus.end = 0;

  SeenTrigrams seen;
  Sha256 digest;
  Index tokens = 0;
  std::size_t kept = 0, dropped = 0;
  for (NamedText& text : texts) {
    if (tokens >= options.enough_tokens) break;
    Result<std::vector<std::int32_t>> ids = corpus.encoder.encode(text.text);
    if (!ids.ok()) return ids.failure();
    if (options.text.empty()) {
      if (seen.share(ids.value()) > 0.8) {
        ++dropped;
        continue;
      }
      seen.keep(ids.value());
    }
    digest.update(as_bytes(text.text));
    corpus.bytes += static_cast<Index>(text.text.size());
    tokens += static_cast<Index>(ids.value().size());
    const bool held_out = ++kept % held_out_every == 0;
    (held_out ? corpus.held_out : corpus.training)
        .push_back({std::move(text.name), std::move(ids).value()});
  }
  corpus.digest = digest.hex();
  corpus.source =
      options.text.empty()
          ? sentence({kept, " C++ headers of this machine (", dropped,
                      " that repeat others left out), every ", held_out_every, "th held out"})
          : sentence({options.text, " in pieces of about ", piece_bytes, " bytes, every ",
                      held_out_every, "th held out"});
  return corpus;
}

std::vector<std::int32_t> cut_windows(const std::vector<Document>& documents,
                                      std::optional<std::int32_t> end, Index length,
                                      std::uint64_t seed) {
  std::vector<std::int32_t> all;
  for (const Document& d : documents) {
    all.insert(all.end(), d.tokens.begin(), d.tokens.end());
    if (end) all.push_back(*end);
  }
  const auto size = static_cast<std::size_t>(length);
  const std::size_t windows = all.size() / size;
  all.resize(windows * size);
  for (std::size_t w = windows; w > 1; --w) {
    seed = splitmix64(seed);
    const std::size_t other = seed % w;
    if (other == w - 1) continue;
    std::swap_ranges(all.begin() + static_cast<std::ptrdiff_t>((w - 1) * size),
                     all.begin() + static_cast<std::ptrdiff_t>(w * size),
                     all.begin() + static_cast<std::ptrdiff_t>(other * size));
  }
  return all;
}

}  // namespace engram::text
