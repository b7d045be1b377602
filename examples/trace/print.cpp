// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The terminal view of a trace.

#include "trace.hpp"

#include <algorithm>

namespace engram::trace {

std::string fit(const std::string& text, std::size_t columns) {
  // One column a code point: right for most scripts, and no table is broken by more than a little.
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
  const auto length = static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [&](char c) { return !continues(c); }));
  if (length <= columns) return text + std::string(columns - length, ' ');
  std::string cut;
  std::size_t used = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!continues(text[i]) && ++used == columns) break;
    cut += text[i];
  }
  return cut + "…";
}

void print(std::FILE* out, const Trace& trace, const Layout& layout, bool color) {
  const char* bold = color ? "\x1b[1m" : "";
  const char* dim = color ? "\x1b[2m" : "";
  const char* plain = color ? "\x1b[0m" : "";
  std::fprintf(out, "%sThe first %zu of %lld tokens; rows of layer %d, one head of %d each%s\n",
               bold, trace.first.size(), static_cast<long long>(trace.tokens),
               layout.layers[0].layer_id, layout.heads, plain);
  std::fprintf(out, "%s%5s  %-14s %9s", dim, "pos", "token", "canonical");
  for (int order = 2; order <= layout.max_ngram_size; ++order)
    std::fprintf(out, "  %-*s %11s", 10 + 4 * order, sentence({order, "-gram"}).c_str(), "row");
  std::fprintf(out, "%s\n", plain);
  for (std::size_t t = 0; t < trace.first.size(); ++t) {
    const TokenLine& line = trace.first[t];
    std::fprintf(out, "%5zu  %s %9d", t, fit(line.text, 14).c_str(), line.canonical_id);
    for (std::size_t o = 0; o < line.ngrams.size(); ++o)
      std::fprintf(
          out, "  %s %11lld", fit(line.ngrams[o], 18 + 4 * o).c_str(),
          static_cast<long long>(line.rows[0][o * static_cast<std::size_t>(layout.heads)]));
    std::fputc('\n', out);
  }
  std::fprintf(out, "\n%sWhat repeats in all %lld tokens%s\n", bold,
               static_cast<long long>(trace.tokens), plain);
  std::fprintf(out, "%s%7s %12s %12s %12s %8s %12s%s\n", dim, "n-gram", "distinct", "row reads",
               "unique rows", "reuse", "collisions", plain);
  for (const OrderSummary& s : trace.orders)
    std::fprintf(out, "%7d %12lld %12lld %12lld %7.1f%% %11.2f%%\n", s.order,
                 static_cast<long long>(s.distinct), static_cast<long long>(s.reads),
                 static_cast<long long>(s.unique_rows), 100 * s.reuse, 100 * s.collisions);
  Index everywhere = 0;
  for (const OrderSummary& s : trace.orders) everywhere += s.collided_in_all_heads;
  std::fprintf(out,
               "%sreuse: row reads saved by reading each row once. collisions: n-grams that share "
               "a row with\nanother in one head; in all %d heads at once: %lld.%s\n",
               dim, layout.heads, static_cast<long long>(everywhere), plain);
}

}  // namespace engram::trace
