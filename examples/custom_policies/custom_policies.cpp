// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A policy of one's own in every place that takes one, composed and run. A policy is a plain type
// with the operations that its concept asks for; the checks name in a sentence what is missing.

#include <engram/engram.hpp>

#include <algorithm>
#include <cctype>
#include <cstdio>

using namespace engram;

/// TokenCompressor: tokens are bytes, and capitals count as small letters.
struct SmallLetters {
  Index vocab_size() const { return 256; }
  Index canonical_size() const { return 256; }
  CanonicalId operator()(Index byte) const { return CanonicalId{std::tolower(int(byte))}; }
  std::string digest() const { return "none"; }  // no map that anybody else reads
};
/// Boundary, the part of an NgramExtractor worth replacing: no n-gram reaches over a blank.
struct WordBoundary {
  bool closes(CanonicalId id) const { return id == CanonicalId{' '}; }
  BoundaryRule rule() const { return {}; }
};
using WordNgrams = SuffixNgrams<WordBoundary>;
/// Addresser: a row for the last two bytes and one for the last three, by an FNV-1a hash.
struct FnvHash {
  static constexpr bool host_only = false;
  int max_ngram_size() const { return 3; }
  int num_layers() const { return 1; }
  Index num_columns() const { return 2; }
  Index num_rows(int) const { return 2 * 509; }
  Index canonical_size() const { return 256; }
  void address(int, const NgramWindow& window, RowId* out) const {
    std::uint32_t hash = 2166136261u;
    for (int s = 0; s < 3; ++s) {  // newest byte first; a blocked place, -1, is hashed as 0
      hash = (hash ^ std::uint32_t(std::max(window.ids[s], 0))) * 16777619u;
      if (s > 0) out[s - 1] = RowId(509u * std::uint32_t(s - 1) + hash % 509);
    }
  }
};
/// AddressableStore: rows of four bytes in an array of the program's.
constexpr Index width = 4;
struct ArrayStore {
  using space_type = HostSpace;
  const std::vector<std::byte>* array;
  Index num_rows() const { return std::ssize(*array) / width; }
  Index row_bytes() const { return width; }
  Index scale_bytes() const { return 0; }
  StridedRows ref() const { return {array->data(), width}; }  // row id -> address
};
/// RowCodec: signed bytes, in steps of 1/64.
struct SixtyFourths {
  Index code_bytes(Index elements) const { return elements; }
  Index scale_bytes(Index) const { return 0; }
  float value(RowBytes row, Index d) const { return float(std::int8_t(row.codes[d])) / 64; }
};
/// Projection: no matrix at all. The first row is the key, the second the value.
struct RowsAsTheyAre {
  using input_type = float;
  using output_type = float;
  static constexpr bool batch_invariant = true;
  Index input_width() const { return 2 * width; }
  Index output_width() const { return width; }
  Index branches() const { return 1; }
  Index tiles() const { return 1; }
  void project(View<const float, 2> e, int segment, Index, View<float, 2> out) const {
    for (Index t = 0; t < e.extent(0); ++t)
      for (Index d = 0; d < width; ++d) out(t, d) = e(t, segment * width + d);
  }
};
/// Gate: all or nothing.
struct Step {
  float operator()(float score) const { return score > 0 ? 1.0f : 0.0f; }
};
/// Device: the calling thread, and a count of what it was given to do.
struct CountingDevice {
  using space_type = HostSpace;
  Index* items;
  void for_items(Index n, const auto& body) const {
    *items += n;
    run_items(body, {0, n});
  }
  bool agree(bool yes) const { return yes; }
  void wait() const {}
};
static_assert(check_token_compressor<SmallLetters>() && check_ngram_extractor<WordNgrams>() &&
              check_addresser<FnvHash>() && check_addressable_store<ArrayStore>() &&
              check_row_codec<SixtyFourths>() && check_projection<RowsAsTheyAre>() &&
              check_gate<Step>() && check_device<CountingDevice>());

int main() {
  const std::string text = "cat Cat CAT";
  const Index tokens = std::ssize(text);
  const auto front =
      FrontEnd<SmallLetters, WordNgrams, FnvHash>::make({}, WordNgrams(3), {}).value();
  const std::vector<int> ids(text.begin(), text.end());
  std::vector<int> rows(text.size() * 2);
  NgramState state = front.initial_state();
  if (!front.address(ids, state, View<int, 3>(rows.data(), tokens, 1, 2)).ok()) return 1;
  std::vector<std::byte> array(std::size_t(front.num_rows(0) * width));
  for (std::size_t i = 0; i < array.size(); ++i) array[i] = std::byte(i * 2654435761u >> 16);
  const auto table = Table<ArrayStore, SixtyFourths>::make({&array}, {}, width).value();
  const RowsAsTheyAre projection;
  const EngramLayer layer(table, projection, {}, {}, Step{});
  std::vector<float> hidden(text.size() * width, 1.0f);  // [tokens, one branch, width]
  const View<float, 3> stream(hidden.data(), tokens, 1, width);
  std::vector<std::byte> workspace(std::size_t(layer.workspace_bytes(tokens)));
  Index items = 0;
  const View<const int, 2> reads(rows.data(), tokens, 2);
  bool same = layer.forward(reads, stream, stream, workspace, {}, CountingDevice{&items}).ok();
  for (Index t = 0; t < tokens; ++t) {  // all three words are "cat", and none sees the one before
    const char letter = text[std::size_t(t)];
    std::printf("%c  rows %3d %3d  hidden %.3f\n", letter, reads(t, 0), reads(t, 1),
                stream(t, 0, 0));
    same = same && stream(t, 0, 0) == stream(t % 4, 0, 0);
  }
  std::printf("%d items ran; the words have one memory: %s\n", int(items), same ? "yes" : "NO");
  return same && items > 0 ? 0 : 1;
}
