// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "encoder.hpp"

#include "piece_hash.hpp"

#include <engram/io/tokenizer_json.hpp>
#include <engram/unicode/byte_alphabet.hpp>

#include <optional>
#include <span>
#include <unordered_map>

namespace engram::bpe {
namespace {

/// True for the bytes that well-formed UTF-8 can hold.
constexpr bool is_utf8_byte(unsigned byte) { return byte < 0xC0 || (byte >= 0xC2 && byte < 0xF5); }

}  // namespace

/// The ids of pieces seen before. Long pieces are not kept: they hardly repeat.
class Encoder::PieceCache {
 public:
  static constexpr std::size_t longest = 64;

  PieceCache() : slots_(1024) {}

  /// The ids, or nothing; `hash` is the piece's.
  std::optional<std::span<const std::int32_t>> find(std::string_view piece,
                                                    std::uint64_t hash) const {
    for (std::size_t i = hash & mask();; i = (i + 1) & mask()) {
      const Slot& slot = slots_[i];
      if (slot.size == 0) return std::nullopt;
      if (slot.hash == static_cast<std::uint32_t>(hash >> 32) && slot.size == piece.size() &&
          std::memcmp(text_.data() + slot.text, piece.data(), piece.size()) == 0)
        return std::span(ids_).subspan(slot.ids, slot.id_count);
    }
  }

  /// Precondition: not there yet; 1 to `longest` bytes.
  void add(std::string_view piece, std::uint64_t hash, std::span<const std::int32_t> ids) {
    if (2 * ++count_ > slots_.size()) grow();
    place({static_cast<std::uint32_t>(hash >> 32), static_cast<std::uint16_t>(piece.size()),
           static_cast<std::uint16_t>(ids.size()), text_.size(), ids_.size()},
          hash);
    text_.insert(text_.end(), piece.begin(), piece.end());
    ids_.insert(ids_.end(), ids.begin(), ids.end());
  }

 private:
  struct Slot {
    std::uint32_t hash = 0;  // upper half
    std::uint16_t size = 0;  // 0: empty
    std::uint16_t id_count = 0;
    std::size_t text = 0, ids = 0;
  };
  std::size_t mask() const { return slots_.size() - 1; }
  void place(const Slot& slot, std::uint64_t hash) {
    std::size_t i = hash & mask();
    while (slots_[i].size != 0) i = (i + 1) & mask();
    slots_[i] = slot;
  }
  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.size != 0) place(slot, hash_piece({text_.data() + slot.text, slot.size}));
  }

  std::vector<Slot> slots_;
  std::size_t count_ = 0;
  std::vector<char> text_;
  std::vector<std::int32_t> ids_;
};

/// Takes the pre-tokenizer's pieces of one call.
class Encoder::PieceEncoder final : public PieceSink {
 public:
  PieceEncoder(const Encoder& encoder, std::vector<std::int32_t>& ids)
      : encoder_(encoder), ids_(ids) {}

  void piece(std::string_view text) override {
    if (text.size() > PieceCache::longest) return encoder_.append_piece(text, ids_);
    const std::uint64_t hash = hash_piece(text);
    if (const auto known = cache_.find(text, hash)) {
      ids_.insert(ids_.end(), known->begin(), known->end());
      return;
    }
    const std::size_t before = ids_.size();
    encoder_.append_piece(text, ids_);
    cache_.add(text, hash, std::span(ids_).subspan(before));
  }

 private:
  const Encoder& encoder_;
  std::vector<std::int32_t>& ids_;
  PieceCache cache_;
};

Result<void> Encoder::read_tokens(TokenizerJson& tokenizer) {
  std::vector<bool> added(tokenizer.tokens.size(), false);
  for (const AddedToken& token : tokenizer.added_tokens) {
    if (token.id < 0 || static_cast<std::size_t>(token.id) >= added.size())
      return fail(Code::corrupt,
                  {"added token '", token.content, "': its id ", token.id,
                   " is not below the number of tokens"},
                  token.id);
    added[static_cast<std::size_t>(token.id)] = true;
  }
  byte_ids_.fill(-1);
  tokens_.reserve(tokenizer.tokens.size());
  for (std::size_t id = 0; id < tokenizer.tokens.size(); ++id) {
    // An added token stands for its text, even where that happens to be in the alphabet.
    auto bytes = added[id] ? std::nullopt : decode_byte_alphabet(tokenizer.tokens[id]);
    tokens_.push_back(bytes ? std::move(*bytes) : tokenizer.tokens[id]);
  }
  // A single letter of the alphabet stands for its byte, also when it is an added token.
  for (std::size_t id = 0; id < tokenizer.tokens.size(); ++id)
    if (const auto bytes = decode_byte_alphabet(tokenizer.tokens[id]); bytes && bytes->size() == 1)
      byte_ids_[static_cast<unsigned char>((*bytes)[0])] = static_cast<std::int32_t>(id);
  for (unsigned byte = 0; byte < 256; ++byte)
    if (byte_ids_[byte] < 0 && is_utf8_byte(byte))
      return fail(Code::unsupported,
                  {"tokenizer: no token for the byte ", byte,
                   "; a byte-level tokenizer has one for each byte of UTF-8"},
                  static_cast<Index>(byte));
  if (!tokenizer.ignore_merges) return {};

  std::size_t slots = 16;
  while (slots < 2 * tokens_.size()) slots *= 2;
  by_text_.assign(slots, -1);
  for (std::size_t id = 0; id < tokens_.size(); ++id) {
    if (added[id]) continue;
    std::size_t i = hash_piece(tokens_[id]) & (slots - 1);
    while (by_text_[i] >= 0) i = (i + 1) & (slots - 1);
    by_text_[i] = static_cast<std::int32_t>(id);
  }
  return {};
}

Result<void> Encoder::read_merges(const TokenizerJson& tokenizer) {
  std::unordered_map<std::string_view, std::int32_t> ids;
  ids.reserve(tokenizer.tokens.size());
  for (std::size_t id = 0; id < tokenizer.tokens.size(); ++id)
    ids.emplace(tokenizer.tokens[id], static_cast<std::int32_t>(id));
  merges_ = MergeTable(tokenizer.merges.size());
  for (std::size_t rank = 0; rank < tokenizer.merges.size(); ++rank) {
    const auto& [left, right] = tokenizer.merges[rank];
    std::int32_t found[3];
    const std::string joined = left + right;
    const std::string* const texts[3] = {&left, &right, &joined};
    for (int i = 0; i < 3; ++i) {
      const auto entry = ids.find(*texts[i]);
      if (entry == ids.end())
        return fail(
            Code::corrupt,
            {"merge ", rank, " ('", left, "' '", right, "'): '", *texts[i], "' is not a token"},
            static_cast<Index>(rank));
      found[i] = entry->second;
    }
    merges_.set(found[0], found[1], {static_cast<std::int32_t>(rank), found[2]});
  }
  return {};
}

Result<void> Encoder::read_added_tokens(const TokenizerJson& tokenizer) {
  std::vector<Needle> plain, normalized;
  for (const AddedToken& token : tokenizer.added_tokens) {
    if (token.single_word)
      return fail(Code::unsupported,
                  {"added token '", token.content, "': the flag single_word is not supported"},
                  token.id);
    Needle needle{token.content, token.id, token.lstrip, token.rstrip};
    if (token.normalized) {
      Result<std::string> text = normalizer_.apply(token.content);
      if (!text.ok()) return text.failure();
      needle.text = std::move(text).value();
    }
    if (!needle.text.empty()) (token.normalized ? normalized : plain).push_back(std::move(needle));
  }
  for (auto [needles, to] : {std::pair(&plain, &plain_), std::pair(&normalized, &normalized_)}) {
    Result<AddedTokenMatcher> made = AddedTokenMatcher::make(std::move(*needles));
    if (!made.ok()) return made.failure();
    *to = std::move(made).value();
  }
  return {};
}

Result<Encoder> Encoder::make(TokenizerJson tokenizer) {
  Encoder e;
  Result<Normalizer> normalizer = Normalizer::make(tokenizer.normalizer);
  if (!normalizer.ok()) return normalizer.failure();
  e.normalizer_ = std::move(normalizer).value();
  Result<PreTokenizer> pre_tokenizer = PreTokenizer::make(tokenizer.pre_tokenizer);
  if (!pre_tokenizer.ok()) return pre_tokenizer.failure();
  e.pre_tokenizer_ = std::move(pre_tokenizer).value();
  if (!e.pre_tokenizer_.byte_level())
    return fail(Code::unsupported,
                "pre-tokenizer: it does not end with 'ByteLevel'; only byte-level tokenizers are "
                "supported");
  if (auto done = e.read_tokens(tokenizer); !done.ok()) return done.failure();
  if (auto done = e.read_merges(tokenizer); !done.ok()) return done.failure();
  if (auto done = e.read_added_tokens(tokenizer); !done.ok()) return done.failure();
  return e;
}

std::int32_t Encoder::find_whole(std::string_view bytes) const {
  if (by_text_.empty()) return -1;
  const std::size_t mask = by_text_.size() - 1;
  for (std::size_t i = hash_piece(bytes) & mask;; i = (i + 1) & mask) {
    const std::int32_t id = by_text_[i];
    if (id < 0 || tokens_[static_cast<std::size_t>(id)] == bytes) return id;
  }
}

void Encoder::append_piece(std::string_view bytes, std::vector<std::int32_t>& ids) const {
  if (const std::int32_t id = find_whole(bytes); id >= 0) {
    ids.push_back(id);
    return;
  }
  std::vector<std::int32_t> piece;
  piece.reserve(bytes.size());
  for (const char c : bytes) piece.push_back(byte_ids_[static_cast<unsigned char>(c)]);
  merges_.apply(piece);
  ids.insert(ids.end(), piece.begin(), piece.end());
}

std::vector<std::int32_t> Encoder::encode_piece(std::string_view bytes) const {
  std::vector<std::int32_t> ids;
  append_piece(bytes, ids);
  return ids;
}

Result<std::vector<std::int32_t>> Encoder::encode(std::string_view utf8) const {
  if (const std::size_t at = find_invalid_utf8(utf8); at != utf8.size())
    return fail(Code::corrupt, {"text: not UTF-8 at byte ", at}, static_cast<Index>(at));
  std::vector<std::int32_t> ids;
  MatchScratch scratch;
  PieceEncoder sink(*this, ids);
  std::vector<AddedTokenMatcher::Part> outer, inner;
  plain_.split(utf8, outer);
  for (const AddedTokenMatcher::Part& part : outer) {
    if (part.id >= 0) {
      ids.push_back(part.id);
      continue;
    }
    std::string_view text = part.text;
    std::string normal;
    if (!normalizer_.is_identity()) {
      Result<std::string> applied = normalizer_.apply(text);
      if (!applied.ok()) return applied.failure();
      normal = std::move(applied).value();
      text = normal;
    }
    inner.clear();
    normalized_.split(text, inner);
    for (const AddedTokenMatcher::Part& piece : inner) {
      if (piece.id >= 0) {
        ids.push_back(piece.id);
      } else if (auto done = pre_tokenizer_.split(piece.text, scratch, sink); !done.ok()) {
        return done.failure();
      }
    }
  }
  return ids;
}

}  // namespace engram::bpe
