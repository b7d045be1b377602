// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "catch.hpp"

#include <engram/io/json.hpp>

#include <string>
#include <vector>

using engram::Code;
using engram::Json;
using engram::parse_json;

namespace {

// The failure of a text that must not parse.
engram::Failure refused(std::string_view text) {
  const auto json = parse_json(text, "x.json");
  REQUIRE_FALSE(json.ok());
  CHECK(json.status().code == Code::corrupt);
  INFO(json.message());
  const std::string start = "x.json: not JSON at byte " + std::to_string(json.status().index);
  CHECK(json.message().compare(0, start.size() + 2, start + ": ") == 0);
  CHECK(json.message().size() < 300);
  return json.failure();
}

std::string nested(std::size_t depth, char open, char close) {
  if (open == '[') return std::string(depth, '[') + std::string(depth, close);
  std::string text;
  for (std::size_t i = 0; i + 1 < depth; ++i) text += "{\"k\":";
  return text + "{}" + std::string(depth - 1, close);
}

}  // namespace

TEST_CASE("json: every proper prefix of a text is refused, at its end") {
  const std::string text = R"({"a": [1, 2.5, -3, true, null], "b\u00e9": {"c": "d\n"}})";
  REQUIRE(parse_json(text, "x").ok());
  for (std::size_t n = 0; n < text.size(); ++n) {
    INFO("prefix of " << n << " bytes");
    CHECK(refused(text.substr(0, n)).status.index == static_cast<engram::Index>(n));
  }
}

TEST_CASE("json: what is not strict JSON is refused where it stands") {
  const std::pair<std::string, engram::Index> cases[] = {
      {"{\"a\":1,}", 7}, {"[1 2]", 3},
      {"{\"a\" 1}", 5},  {"{a:1}", 1},
      {"[01]", 2},       {"[+1]", 1},
      {"['a']", 1},      {"{} {}", 3},
      {"[NaN]", 1},      {"// c\n1", 0},
      {"[\"\t\"]", 2},   {"[\"\\x\"]", 3},
      {"[1e999]", 5},    {R"(["1e999\"", 0.00000000001e309, -1e309])", 36},
  };
  for (const auto& [text, at] : cases) {
    INFO(text);
    CHECK(refused(text).status.index == at);
  }
}

TEST_CASE("json: a string that is not UTF-8 is refused at the faulty byte") {
  const std::string bad[] = {"\x80",
                             "\xC3",
                             "\xC0\x80",
                             "\xE0\x80\x80",
                             "\xED\xA0\x80",
                             "\xF0\x80\x80\x80",
                             "\xF4\x90\x80\x80",
                             "\xFF",
                             "\xE2\x82"};
  for (const std::string& bytes : bad) {
    const auto value = refused("[\"a" + bytes + "\"]");
    CHECK(value.status.index >= 3);
    CHECK(value.status.index <= static_cast<engram::Index>(3 + bytes.size()));
    refused("{\"a" + bytes + "\":1}");
  }
  refused(R"(["\ud800"])");
  refused(R"(["\udc00\ud800"])");
}

TEST_CASE("json: a zero byte is refused wherever it is, with what follows it") {
  CHECK(refused(std::string("{}\0", 3)).status.index == 2);
  CHECK(refused(std::string("{}\0{}", 5)).status.index == 2);
  CHECK(refused(std::string("[\"\0\"]", 5)).status.index == 2);
  const auto escaped = parse_json(R"("\u0000")", "x");
  REQUIRE(escaped.ok());
  CHECK(*escaped.value().as_string() == std::string(1, '\0'));
}

TEST_CASE("json: nesting beyond the limit is refused where it goes too deep") {
  const std::size_t limit = engram::max_json_depth;
  REQUIRE(parse_json(nested(limit, '[', ']'), "x").ok());
  REQUIRE(parse_json(nested(limit, '{', '}'), "x").ok());
  CHECK(refused(nested(limit + 1, '[', ']')).status.index == static_cast<engram::Index>(limit));
  CHECK(refused(nested(limit + 1, '{', '}')).status.index == static_cast<engram::Index>(5 * limit));
  // A bomb, and brackets in strings before it, which do not count.
  const auto bomb = refused("[\"[[[\\\"[\", {}, " + std::string(1000000, '['));
  CHECK(bomb.status.index == static_cast<engram::Index>(15 + limit - 1));
  CHECK(bomb.message.find("deeper than 64") != std::string::npos);
}

TEST_CASE("json: siblings do not count as depth") {
  std::string text = "[";
  for (int i = 0; i < 1000; ++i) text += "[{}],";
  const auto json = parse_json(text + "[]]", "x");
  REQUIRE(json.ok());
  CHECK(json.value().as_array()->size() == 1001);
}

TEST_CASE("json: members keep their order and their duplicates") {
  const auto json = parse_json(R"({"b":1,"a":2,"b":3,"":4})", "x");
  REQUIRE(json.ok());
  const Json& object = json.value();
  std::vector<std::string> keys;
  for (const auto& member : *object.as_object()) keys.push_back(member.first);
  CHECK(keys == std::vector<std::string>{"b", "a", "b", ""});
  CHECK(object.count("b") == 2);
  CHECK(object.count("a") == 1);
  CHECK(object.count("c") == 0);
  CHECK(object.find("b")->as_integer() == 1);
  CHECK(object.find("c") == nullptr);
  CHECK(object.find("b")->find("x") == nullptr);
  CHECK(object.find("b")->count("x") == 0);
}

TEST_CASE("json: numbers keep what they are") {
  const auto json = parse_json(
      "[0, -1, 9223372036854775807, 9223372036854775808, 18446744073709551615, "
      "18446744073709551616, -9223372036854775808, -9223372036854775809, 1.0, 1e2, 0.5]",
      "x");
  REQUIRE(json.ok());
  const Json::Array& n = *json.value().as_array();
  REQUIRE(n.size() == 11);
  CHECK(n[0].as_integer() == 0);
  CHECK(n[0].as_unsigned() == 0u);
  CHECK(n[1].as_integer() == -1);
  CHECK_FALSE(n[1].as_unsigned().has_value());
  CHECK(n[2].as_integer() == INT64_MAX);
  CHECK(n[2].as_unsigned() == static_cast<std::uint64_t>(INT64_MAX));
  CHECK(n[3].kind() == Json::Kind::unsigned_integer);
  CHECK_FALSE(n[3].as_integer().has_value());
  CHECK(n[3].as_unsigned() == std::uint64_t{1} << 63);
  CHECK(n[4].as_unsigned() == UINT64_MAX);
  CHECK(n[5].kind() == Json::Kind::real);
  CHECK(n[5].as_number() == 18446744073709551616.0);
  CHECK(n[6].as_integer() == INT64_MIN);
  CHECK(n[7].kind() == Json::Kind::real);
  CHECK_FALSE(n[8].as_integer().has_value());
  CHECK(n[8].as_number() == 1.0);
  CHECK(n[9].kind() == Json::Kind::real);
  CHECK(n[10].as_number() == 0.5);
  CHECK(n[1].as_number() == -1.0);
}

TEST_CASE("json: each kind answers for itself only") {
  const auto json = parse_json(R"([null, true, 1, "s", [], {}])", "x");
  REQUIRE(json.ok());
  const Json::Array& v = *json.value().as_array();
  CHECK(v[0].is_null());
  CHECK(v[1].as_boolean() == true);
  for (std::size_t i = 0; i < v.size(); ++i) {
    CHECK(v[i].is_null() == (i == 0));
    CHECK(v[i].as_boolean().has_value() == (i == 1));
    CHECK(v[i].as_integer().has_value() == (i == 2));
    CHECK(v[i].as_number().has_value() == (i == 2));
    CHECK((v[i].as_string() != nullptr) == (i == 3));
    CHECK((v[i].as_array() != nullptr) == (i == 4));
    CHECK((v[i].as_object() != nullptr) == (i == 5));
  }
  CHECK(std::string(to_string(v[4].kind())) == "an array");
}

TEST_CASE("json: strings are unescaped, values copied whole") {
  const auto json = parse_json(R"({"k":["\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t"]})", "x");
  REQUIRE(json.ok());
  Json copy = json.value();
  std::string taken = std::move(*(*copy.find("k")->as_array())[0].as_string());
  CHECK(taken == "\xC3\xA9\xF0\x9F\x98\x80\"\\/\b\f\n\r\t");
  CHECK(*(*json.value().find("k")->as_array())[0].as_string() == taken);
}
