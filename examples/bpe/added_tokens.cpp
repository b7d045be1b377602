// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "added_tokens.hpp"

#include <engram/unicode/normalizer.hpp>

#include <algorithm>

namespace engram::bpe {
namespace {

/// Bytes of white space at the end of `text`.
std::size_t space_at_end(std::string_view text) {
  std::size_t begin = text.size();
  while (begin > 0) {
    std::size_t at = begin - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    if (!is_white_space(next_code_point(text, at).code_point)) break;
    begin = at;
  }
  return text.size() - begin;
}

/// Bytes of white space at the start of `text`.
std::size_t space_at_start(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = next_code_point(text, at);
    if (!is_white_space(step.code_point)) break;
    at += step.size;
  }
  return at;
}

}  // namespace

Result<AddedTokenMatcher> AddedTokenMatcher::make(std::vector<Needle> needles) {
  AddedTokenMatcher m;
  m.needles_ = std::move(needles);
  std::fill(std::begin(m.root_), std::end(m.root_), -1);
  for (std::size_t i = 0; i < m.needles_.size(); ++i) {
    std::int32_t node = -1;
    for (const char c : m.needles_[i].text) {
      const auto byte = static_cast<unsigned char>(c);
      std::int32_t next = node < 0 ? m.root_[byte] : m.child(node, byte);
      if (next < 0) {
        next = static_cast<std::int32_t>(m.nodes_.size());
        Node fresh;
        fresh.byte = byte;
        if (node < 0) {
          m.root_[byte] = next;
        } else {
          fresh.next_sibling = m.nodes_[static_cast<std::size_t>(node)].first_child;
          m.nodes_[static_cast<std::size_t>(node)].first_child = next;
        }
        m.nodes_.push_back(fresh);
      }
      node = next;
    }
    std::int32_t& needle = m.nodes_[static_cast<std::size_t>(node)].needle;
    if (needle >= 0)
      return fail(Code::invalid_config,
                  {"added tokens: two have the text '", m.needles_[i].text, "'"}, m.needles_[i].id);
    needle = static_cast<std::int32_t>(i);
  }
  return m;
}

std::int32_t AddedTokenMatcher::child(std::int32_t node, unsigned char byte) const {
  std::int32_t next = nodes_[static_cast<std::size_t>(node)].first_child;
  while (next >= 0 && nodes_[static_cast<std::size_t>(next)].byte != byte)
    next = nodes_[static_cast<std::size_t>(next)].next_sibling;
  return next;
}

std::int32_t AddedTokenMatcher::longest(std::string_view text) const {
  std::int32_t best = -1;
  std::int32_t node = root_[static_cast<unsigned char>(text[0])];
  for (std::size_t at = 1; node >= 0; ++at) {
    const Node& here = nodes_[static_cast<std::size_t>(node)];
    if (here.needle >= 0) best = here.needle;
    if (at == text.size()) break;
    node = child(node, static_cast<unsigned char>(text[at]));
  }
  return best;
}

// Stripping follows the reference: white space before a token is taken back as far as the token
// before it; white space behind it is taken even if the next token begins within it, which is then
// found all the same.
void AddedTokenMatcher::split(std::string_view text, std::vector<Part>& parts) const {
  std::size_t done = 0;
  const auto add = [&](std::size_t begin, std::size_t end, std::int32_t id) {
    if (begin < end) parts.push_back({text.substr(begin, end - begin), id});
  };
  if (needles_.empty()) return add(0, text.size(), -1);
  for (std::size_t at = 0; at < text.size();) {
    const std::int32_t found =
        root_[static_cast<unsigned char>(text[at])] < 0 ? -1 : longest(text.substr(at));
    if (found < 0) {
      ++at;
      continue;
    }
    const Needle& needle = needles_[static_cast<std::size_t>(found)];
    std::size_t begin = at;
    std::size_t end = at + needle.text.size();
    at = end;
    if (needle.lstrip) begin = std::max(begin - space_at_end(text.substr(0, begin)), done);
    if (needle.rstrip) end += space_at_start(text.substr(end));
    if (done < begin) add(done, begin, -1);
    add(begin, end, needle.id);
    done = end;
  }
  add(done, text.size(), -1);
}

}  // namespace engram::bpe
