// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A JSON tree for files that may be hostile. nlohmann's parser reads the text; this tree keeps what
// its own tree would lose: the order of an object's members, and keys that occur twice, so that a
// reader can refuse them. Depth is limited, nothing throws, and every failure says where.

#include <engram/core/status.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <variant>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// How deep arrays and objects may nest. Deeper text is refused.
inline constexpr std::size_t max_json_depth = 64;

/// One JSON value. Copies are deep; const calls may run concurrently.
class Json {
 public:
  using Array = std::vector<Json>;
  /// Members in the order of the text, with duplicate keys kept.
  using Object = std::vector<std::pair<std::string, Json>>;
  /// `real`: a number with a fraction or exponent, or an integer beyond 64 bits.
  enum class Kind { null, boolean, integer, unsigned_integer, real, string, array, object };

  Json() = default;
  explicit Json(bool value) : value_(value) {}
  explicit Json(std::int64_t value) : value_(value) {}
  explicit Json(std::uint64_t value) : value_(value) {}
  explicit Json(double value) : value_(value) {}
  explicit Json(std::string value) : value_(std::move(value)) {}
  explicit Json(Array value) : value_(std::move(value)) {}
  explicit Json(Object value) : value_(std::move(value)) {}

  Kind kind() const noexcept { return static_cast<Kind>(value_.index()); }
  bool is_null() const noexcept { return kind() == Kind::null; }

  // Each of these is empty (or null) when the value is of another kind.
  std::optional<bool> as_boolean() const noexcept;
  /// An integer written without fraction or exponent that fits.
  std::optional<std::int64_t> as_integer() const noexcept;
  std::optional<std::uint64_t> as_unsigned() const noexcept;
  /// Any number, rounded to double.
  std::optional<double> as_number() const noexcept;
  const std::string* as_string() const noexcept { return std::get_if<std::string>(&value_); }
  const Array* as_array() const noexcept { return std::get_if<Array>(&value_); }
  const Object* as_object() const noexcept { return std::get_if<Object>(&value_); }
  // For a reader that moves the parts out.
  std::string* as_string() noexcept { return std::get_if<std::string>(&value_); }
  Array* as_array() noexcept { return std::get_if<Array>(&value_); }
  Object* as_object() noexcept { return std::get_if<Object>(&value_); }

  /// The first member with that key; null when there is none or this is no object. Linear.
  const Json* find(std::string_view key) const noexcept;
  Json* find(std::string_view key) noexcept;
  /// How many members have that key.
  Index count(std::string_view key) const noexcept;

 private:
  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Array,
               Object>
      value_;
};

/// The kind in words, for messages: "an object".
constexpr const char* to_string(Json::Kind kind) noexcept {
  switch (kind) {
    case Json::Kind::null:
      return "null";
    case Json::Kind::boolean:
      return "a boolean";
    case Json::Kind::integer:
    case Json::Kind::unsigned_integer:
      return "an integer";
    case Json::Kind::real:
      return "a number with fraction or exponent";
    case Json::Kind::string:
      return "a string";
    case Json::Kind::array:
      return "an array";
    case Json::Kind::object:
      return "an object";
  }
  return "unknown";
}

/// Parses one JSON text (RFC 8259, strict UTF-8, nothing after the value). `name` is the file's
/// name, for the sentence.
///
/// Fails with corrupt (index: byte offset) for anything that is not JSON or nests deeper than
/// max_json_depth. Linear in the text; the tree takes up to some 40 bytes per value.
inline Result<Json> parse_json(std::string_view text, const std::string& name);

inline std::optional<bool> Json::as_boolean() const noexcept {
  const bool* b = std::get_if<bool>(&value_);
  return b ? std::optional(*b) : std::nullopt;
}

inline std::optional<std::int64_t> Json::as_integer() const noexcept {
  const auto* i = std::get_if<std::int64_t>(&value_);
  return i ? std::optional(*i) : std::nullopt;
}

inline std::optional<std::uint64_t> Json::as_unsigned() const noexcept {
  if (const auto* u = std::get_if<std::uint64_t>(&value_)) return *u;
  if (const auto* i = std::get_if<std::int64_t>(&value_); i && *i >= 0)
    return static_cast<std::uint64_t>(*i);
  return std::nullopt;
}

inline std::optional<double> Json::as_number() const noexcept {
  if (const auto* d = std::get_if<double>(&value_)) return *d;
  if (const auto* i = std::get_if<std::int64_t>(&value_)) return static_cast<double>(*i);
  if (const auto* u = std::get_if<std::uint64_t>(&value_)) return static_cast<double>(*u);
  return std::nullopt;
}

inline const Json* Json::find(std::string_view key) const noexcept {
  if (const Object* object = as_object())
    for (const auto& member : *object)
      if (member.first == key) return &member.second;
  return nullptr;
}

inline Json* Json::find(std::string_view key) noexcept {
  return const_cast<Json*>(std::as_const(*this).find(key));
}

inline Index Json::count(std::string_view key) const noexcept {
  Index n = 0;
  if (const Object* object = as_object())
    for (const auto& member : *object) n += member.first == key ? 1 : 0;
  return n;
}

/// Receives the parser's events and grows the tree. Its function names are the parser's.
class JsonBuilder {
 public:
  explicit JsonBuilder(Json& root) : root_(&root) {}

  bool null() { return add(Json()) != nullptr; }
  bool boolean(bool value) { return add(Json(value)) != nullptr; }
  bool number_integer(std::int64_t value) { return add(Json(value)) != nullptr; }
  bool number_unsigned(std::uint64_t value) {
    const auto i = static_cast<std::int64_t>(value);
    return add(i >= 0 ? Json(i) : Json(value)) != nullptr;
  }
  bool number_float(double value, const std::string& spelling) {
    // The parser's own test for overflow is gone under -ffast-math.
    if ((std::bit_cast<std::uint64_t>(value) << 1) >= 0x7FF0000000000000u << 1) {
      overflow_ = spelling;
      return false;
    }
    return add(Json(value)) != nullptr;
  }
  bool string(std::string& value) { return add(Json(std::move(value))) != nullptr; }
  bool binary(nlohmann::json::binary_t&) { return false; }
  bool key(std::string& value) {
    key_ = std::move(value);
    return true;
  }
  bool start_object(std::size_t) { return open(Json(Json::Object())); }
  bool start_array(std::size_t) { return open(Json(Json::Array())); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception& error) {
    // The parser counts bytes read, the faulty one (or the end) included. Its sentence ends with
    // the bytes last read, which may be long and no text at all.
    offset_ = position > 0 ? position - 1 : 0;
    reason_ = error.what();
    reason_.resize(std::min(reason_.find("; last read"), reason_.size()));
    for (const std::string_view lead : {"] ", "parse error at "})
      if (const auto at = reason_.find(lead); at != std::string::npos)
        reason_.erase(0, at + lead.size());
    if (reason_.size() > 200) reason_.resize(200);
    return false;
  }

  bool too_deep() const noexcept { return too_deep_; }
  /// The number that is too large for a double; empty when none was.
  const std::string& overflow() const noexcept { return overflow_; }
  std::size_t offset() const noexcept { return offset_; }
  const std::string& reason() const noexcept { return reason_; }

 private:
  // Not inlined: g++ 12 would warn of the bytes that a number leaves unused in a value.
  [[gnu::noinline]] Json* add(Json value) {
    if (open_.empty()) {
      *root_ = std::move(value);
      return root_;
    }
    if (Json::Array* array = open_.back()->as_array()) {
      array->push_back(std::move(value));
      return &array->back();
    }
    Json::Object* object = open_.back()->as_object();
    object->emplace_back(std::move(key_), std::move(value));
    return &object->back().second;
  }
  bool open(Json value) {
    if (open_.size() == max_json_depth) {
      too_deep_ = true;
      return false;
    }
    open_.push_back(add(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  Json* root_;
  std::vector<Json*> open_;  // what encloses the next value; an outer one does not move meanwhile
  std::string key_;
  std::string reason_;
  std::string overflow_;
  std::size_t offset_ = 0;
  bool too_deep_ = false;
};

/// The first place outside of strings where `found(i)` holds; the text is JSON up to there.
template <class Found>
std::size_t find_outside_strings(std::string_view text, Found found) {
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!quoted && found(i)) return i;
    if (quoted && text[i] == '\\')
      ++i;
    else if (text[i] == '"')
      quoted = !quoted;
  }
  return text.size();
}

/// Where the text first nests deeper than max_json_depth.
inline std::size_t json_depth_offset(std::string_view text) {
  std::size_t depth = 0;
  return find_outside_strings(text, [&](std::size_t i) {
    if (text[i] == '[' || text[i] == '{') ++depth;
    if (text[i] == ']' || text[i] == '}') --depth;
    return depth > max_json_depth;
  });
}

/// Where the first number with that spelling ends.
inline std::size_t json_number_offset(std::string_view text, std::string_view spelling) {
  const std::size_t begin = find_outside_strings(text, [&](std::size_t i) {
    return text.substr(i, spelling.size()) == spelling &&
           (i == 0 || std::string_view("+-.0123456789eE").find(text[i - 1]) == std::string::npos);
  });
  return begin + spelling.size() - 1;
}

inline Result<Json> parse_json(std::string_view text, const std::string& name) {
  const auto bad = [&name](std::size_t offset, const std::string& reason) {
    return fail(Code::corrupt, {name, ": not JSON at byte ", offset, ": ", reason},
                static_cast<Index>(offset));
  };
  // The parser takes a zero byte for the end of the text and would not see what follows.
  if (const auto zero = text.find('\0'); zero != std::string_view::npos)
    return bad(zero, "a zero byte");
  Json root;
  JsonBuilder builder(root);
  if (nlohmann::json::sax_parse(text.data(), text.data() + text.size(), &builder)) return root;
  if (builder.too_deep())
    return bad(json_depth_offset(text),
               sentence({"arrays and objects nest deeper than ", max_json_depth, " levels"}));
  if (const std::string& number = builder.overflow(); !number.empty())
    return bad(json_number_offset(text, number), "number overflow");
  return bad(builder.offset(), builder.reason());
}

ENGRAM_END_NAMESPACE
