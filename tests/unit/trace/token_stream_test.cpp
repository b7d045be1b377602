// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A text in blocks gives the ids of the whole text, and its trace the rows of the front end.

#if __has_include("trace/token_stream.hpp")

#include "trace/token_stream.hpp"

#include "../bpe/tiny_tokenizer.hpp"
#include "trace/record.hpp"

#include <catch.hpp>
#include <contains.hpp>
#include <engram/addressing/make_layout.hpp>
#include <engram/io/file.hpp>
#include <engram/io/row_trace.hpp>
#include <engram/layer/front_end.hpp>
#include <random.hpp>
#include <scratch.hpp>

#include <algorithm>

using namespace engram;
using Ids = std::vector<std::int32_t>;

namespace {

const char* const gpt2 = R"({"type": "ByteLevel", "add_prefix_space": false})";
const char* const prefixed = R"({"type": "ByteLevel", "add_prefix_space": true})";

bpe::Encoder encoder_of(const std::string& pre_tokenizer) {
  return bpe::Encoder::make(test::tiny_tokenizer({{"a", "b"},
                                                  {"ab", "ab"},
                                                  {"\n", "\n"},
                                                  {"\n\n", "a"},
                                                  {" ", "a"},
                                                  {"c", "\n"},
                                                  {" ", " "}},
                                                 pre_tokenizer))
      .value();
}

std::string text_of(std::size_t size, std::uint64_t seed) {
  Random random(seed);
  std::string text;
  const char* const parts[] = {"ab", "abab", " ",      "\n",         "\n\n",
                               "c",  "  ",   "\u00E9", "\U0001F600", "1"};
  while (text.size() < size) text += parts[random.below(10)];
  return text;
}

struct Streamed {
  Ids ids;
  int blocks = 0;
  Failure failure;
};
Streamed stream(const bpe::Encoder& encoder, const std::string& path, std::size_t block) {
  Streamed all;
  auto opened = trace::TokenStream::open(encoder, path, block);
  if (!opened.ok()) {
    all.failure = opened.failure();
    return all;
  }
  Ids ids;
  for (;;) {
    const Result<bool> more = opened.value().next(ids);
    if (!more.ok()) all.failure = more.failure();
    if (!more.ok() || !more.value()) return all;
    all.ids.insert(all.ids.end(), ids.begin(), ids.end());
    ++all.blocks;
  }
}

}  // namespace

TEST_CASE("token stream: blocks of any size give the ids of the whole text") {
  const std::string path = scratch_path("text");
  for (const char* pre_tokenizer : {gpt2, test::plain_byte_level}) {
    const bpe::Encoder encoder = encoder_of(pre_tokenizer);
    for (const std::size_t size : {0u, 1u, 200u, 5000u, 20000u}) {
      const std::string text = text_of(size, size + 1);
      write_file(path, as_bytes(text)).value();
      const Ids expected = encoder.encode(text).value();
      for (const std::size_t block : {1u, 7u, 100u, 1000u, 100000u}) {
        INFO(size << " in blocks of " << block);
        const Streamed all = stream(encoder, path, block);
        CHECK(all.failure.message.empty());
        CHECK(all.ids == expected);
        if (size == 20000 && block == 100) CHECK(all.blocks > 20);
      }
    }
  }
}

TEST_CASE("token stream: text that is not UTF-8 is refused with its place") {
  const std::string path = scratch_path("text");
  const bpe::Encoder encoder = encoder_of(gpt2);
  for (const std::size_t bad : {std::size_t{0}, std::size_t{3000}, std::size_t{9999}}) {
    std::string text(10000, 'a');
    for (std::size_t at = 50; at < text.size(); at += 50) text[at] = '\n';
    text[bad] = '\xff';
    write_file(path, as_bytes(text)).value();
    const Streamed all = stream(encoder, path, 1000);
    CHECK(all.failure.status == Status{Code::corrupt, 0, static_cast<Index>(bad)});
  }
  write_file(path, as_bytes("cut \xc3")).value();
  CHECK(stream(encoder, path, 100).failure.status.code == Code::corrupt);
  CHECK(stream(encoder, path + "_none", 100).failure.status.code == Code::io);
}

TEST_CASE("token stream: one word, and a tokenizer that adds a blank, are taken whole") {
  const std::string path = scratch_path("text");
  write_file(path, as_bytes(std::string(30000, 'a'))).value();
  const bpe::Encoder encoder = encoder_of(gpt2);
  CHECK(stream(encoder, path, 100).blocks == 1);
  CHECK(stream(encoder, path, 100).ids == encoder.encode(std::string(30000, 'a')).value());
  const bpe::Encoder adds = encoder_of(prefixed);
  const std::string text = text_of(9000, 4);
  write_file(path, as_bytes(text)).value();
  CHECK(stream(adds, path, 100).ids == adds.encode(text).value());
}

TEST_CASE("record: the trace asks for the rows of the front end") {
  const std::string text_path = scratch_path("text"), path = scratch_path("trace");
  const bpe::Encoder encoder = encoder_of(gpt2);
  Ids canonical;
  for (std::int32_t id = 0; id < encoder.vocab_size(); ++id) canonical.push_back(id / 2);
  const TokenMap map = TokenMap::make(canonical, canonical.back() + 1).value();
  for (const BoundaryRule boundary : {BoundaryRule{}, BoundaryRule{BoundaryKind::eos, 5}}) {
    AddressingConfig config;
    config.layer_ids = {0, 3};
    config.max_ngram_size = 4;
    config.engram_vocab_size = {50, 60, 70};
    config.n_head_per_ngram = 2;
    config.pad_id = 1;
    config.boundary = boundary;
    config.compressed_vocab_size = map.canonical_size();
    Layout layout = make_layout(config, map).value();
    const std::string text = text_of(30000, 9);
    write_file(text_path, as_bytes(text)).value();
    const Index tokens = trace::record_text(encoder, map, layout, text_path, path).value();

    const Ids ids = encoder.encode(text).value();
    REQUIRE(tokens == static_cast<Index>(ids.size()));
    const auto front = make_front_end(layout, map).value();
    std::vector<Index> expected(ids.size() * 12), rows(ids.size() * 12);
    NgramState state = front.initial_state();
    REQUIRE(front.address(ids, state, View<Index, 3>(expected.data(), tokens, 2, 6)).ok());
    RowTrace recorded = RowTrace::open(path).value();
    Index at = 0;
    for (std::vector<NgramWindow> windows; recorded.next(windows).value() > 0;) {
      const auto count = static_cast<Index>(windows.size());
      address_windows(front.addresser(), windows.data(), count,
                      View<Index, 3>(rows.data() + at * 12, count, 2, 6));
      at += count;
    }
    CHECK(rows == expected);

    layout.token_map = "none";
    CHECK(trace::record_text(encoder, map, layout, text_path, path).status().code ==
          Code::mismatch);
  }
  write_file(text_path, as_bytes("\xff")).value();
  AddressingConfig config;
  config.layer_ids = {0};
  config.max_ngram_size = 2;
  config.engram_vocab_size = {50};
  config.n_head_per_ngram = 1;
  config.pad_id = 1;
  config.compressed_vocab_size = map.canonical_size();
  const std::string before = read_file(path).value();
  CHECK(trace::record_text(encoder, map, make_layout(config, map).value(), text_path, path)
            .status()
            .code == Code::corrupt);
  CHECK(read_file(path).value() == before);
}

#endif
