// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "trainer.hpp"

#include "pair_counts.hpp"
#include "piece_hash.hpp"

#include <engram/io/tokenizer_json.hpp>
#include <engram/unicode/byte_alphabet.hpp>

#include <queue>
#include <unordered_set>

namespace engram::bpe {

const char* const default_pre_tokenizer =
    R"json({"type": "Sequence", "pretokenizers": [
  {"type": "Split", "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
   "behavior": "Isolated", "invert": false},
  {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})json";

namespace {

constexpr std::int64_t most_bytes = std::int64_t{1} << 62;

/// A pair as it stood when it was put on the heap.
struct Entry {
  std::int64_t count;
  std::int32_t left, right;
  std::uint32_t pair;

  /// The heap's order: more frequent first, then the lower ids.
  friend bool operator<(const Entry& a, const Entry& b) {
    if (a.count != b.count) return a.count < b.count;
    return a.left != b.left ? a.left > b.left : a.right > b.right;
  }
};

/// Token strings and their ids while the vocabulary grows.
class Vocabulary {
 public:
  /// The id of the text, a new one if need be.
  std::int32_t id_of(std::string text) {
    const auto [entry, fresh] = ids_.try_emplace(std::move(text), size());
    if (fresh) tokens_.push_back(&entry->first);
    return entry->second;
  }
  std::int32_t size() const { return static_cast<std::int32_t>(tokens_.size()); }
  const std::string& operator[](std::int32_t id) const {
    return *tokens_[static_cast<std::size_t>(id)];
  }

 private:
  std::unordered_map<std::string, std::int32_t> ids_;
  std::vector<const std::string*> tokens_;
};

}  // namespace

std::size_t Trainer::Hash::operator()(std::string_view text) const noexcept {
  return static_cast<std::size_t>(hash_piece(text));
}

class Trainer::Counter final : public PieceSink {
 public:
  explicit Counter(Trainer& trainer) : trainer_(trainer) {}
  void piece(std::string_view text) override {
    if (auto done = trainer_.add_piece(text, 1); !done.ok()) status = done;
  }
  Result<void> status;

 private:
  Trainer& trainer_;
};

Result<Trainer> Trainer::make(TrainerOptions options) {
  std::unordered_set<std::string_view> seen;
  for (std::size_t i = 0; i < options.special_tokens.size(); ++i) {
    const std::string& token = options.special_tokens[i];
    if (token.empty() || find_invalid_utf8(token) != token.size())
      return fail(Code::invalid_config, {"special token ", i, ": it is empty or not UTF-8"},
                  static_cast<Index>(i));
    if (!seen.insert(token).second)
      return fail(Code::invalid_config, {"special token ", i, ": '", token, "' is there already"},
                  static_cast<Index>(i));
  }
  const auto least = static_cast<Index>(options.special_tokens.size()) + 256;
  if (options.vocab_size < least)
    return fail(Code::invalid_config,
                {"vocab_size is ", options.vocab_size, ", expected at least ", least,
                 ": 256 bytes and ", options.special_tokens.size(), " special tokens"},
                options.vocab_size);
  if (options.min_frequency < 1)
    return fail(Code::invalid_config, "min_frequency is below 1", options.min_frequency);

  const Result<Json> json = parse_json(options.pre_tokenizer, "pre-tokenizer");
  if (!json.ok()) return json.failure();
  Result<PreTokenizer> pre_tokenizer = PreTokenizer::make(json.value());
  if (!pre_tokenizer.ok()) return pre_tokenizer.failure();
  if (!pre_tokenizer.value().byte_level())
    return fail(Code::unsupported, "pre-tokenizer: it does not end with 'ByteLevel'");
  Trainer t;
  t.options_ = std::move(options);
  t.pre_tokenizer_ = std::move(pre_tokenizer).value();
  return t;
}

Result<void> Trainer::add(std::string_view utf8) {
  if (const std::size_t at = find_invalid_utf8(utf8); at != utf8.size())
    return fail(Code::corrupt, {"text: not UTF-8 at byte ", at}, static_cast<Index>(at));
  MatchScratch scratch;
  Counter counter(*this);
  if (auto done = pre_tokenizer_.split(utf8, scratch, counter); !done.ok()) return done;
  return counter.status;
}

Result<void> Trainer::add_piece(std::string_view piece, std::int64_t count) {
  if (count < 0) return fail(Code::invalid_config, "piece: its count is negative", count);
  const auto size = static_cast<std::int64_t>(piece.size());
  if (size > std::int64_t{1} << 31)
    return fail(Code::invalid_config, "piece: longer than 2^31 bytes", size);
  if (size > 0 && count > (most_bytes - bytes_) / size)
    return fail(Code::invalid_config, "piece: all pieces together exceed 2^62 bytes");
  if (size == 0 || count == 0) return {};
  bytes_ += size * count;
  pieces_ += count;
  const auto known = counts_.find(piece);
  if (known != counts_.end())
    known->second += count;
  else
    counts_.emplace(piece, count);
  return {};
}

Result<TokenizerJson> Trainer::train() const {
  if (counts_.empty()) return fail(Code::invalid_config, "trainer: no text was added");
  Vocabulary vocabulary;
  for (const std::string& token : options_.special_tokens) vocabulary.id_of(token);
  std::int32_t byte_ids[256];
  for (char32_t letter = 0; letter < std::size(byte_alphabet.byte); ++letter) {
    if (byte_alphabet.byte[letter] < 0) continue;
    std::string text;
    append_utf8(text, letter);
    byte_ids[byte_alphabet.byte[letter]] = vocabulary.id_of(text);
  }

  PairCounts pairs;
  for (const auto& [piece, count] : counts_) {
    std::vector<std::int32_t> ids;
    ids.reserve(piece.size());
    for (const char c : piece) ids.push_back(byte_ids[static_cast<unsigned char>(c)]);
    pairs.add(ids, count);
  }
  std::priority_queue<Entry> heap;
  const auto push = [&](std::uint32_t n) {
    if (pairs[n].count >= options_.min_frequency)
      heap.push({pairs[n].count, pairs[n].left, pairs[n].right, n});
  };
  for (std::uint32_t n = 0; n < pairs.size(); ++n) push(n);

  // Where a pair was merged it never stands again: its parts arose by one merge each, everywhere at
  // once. So every token has one pair, and every pair is merged once at most.
  TokenizerJson out;
  while (vocabulary.size() < options_.vocab_size && !heap.empty()) {
    const Entry top = heap.top();
    heap.pop();
    const PairCounts::Pair& pair = pairs[top.pair];
    if (top.count < pair.count) continue;  // a newer entry stands in the heap
    if (top.count > pair.count) {
      push(top.pair);
      continue;
    }
    out.merges.emplace_back(vocabulary[pair.left], vocabulary[pair.right]);
    const std::int32_t id = vocabulary.id_of(vocabulary[pair.left] + vocabulary[pair.right]);
    for (const std::uint32_t gained : pairs.merge(top.pair, id)) push(gained);
  }

  for (std::int32_t id = 0; id < vocabulary.size(); ++id) out.tokens.push_back(vocabulary[id]);
  for (const std::string& token : options_.special_tokens) {
    AddedToken added;
    added.id = static_cast<std::int32_t>(out.added_tokens.size());
    added.content = token;
    added.special = true;
    out.added_tokens.push_back(added);
  }
  out.pre_tokenizer = parse_json(options_.pre_tokenizer, "pre-tokenizer").value();
  return out;
}

}  // namespace engram::bpe
