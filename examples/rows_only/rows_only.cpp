// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An engine that has tables and kernels of its own and wants row ids, nothing else. It addresses a
// sentence in one call, the same in chunks, and takes back a draft that was not accepted.

#include <engram/engram.hpp>

#include <cstdio>

namespace {

using namespace engram;

// A vocabulary of ten spellings; spellings of one word have one canonical id.
constexpr const char* spellings[] = {"<pad>", "Alexander", "alexander", "the",     "The",
                                     "Great", "great",     "Less",      "reigned", "."};
const std::vector<std::int32_t> canonical_ids = {0, 1, 1, 2, 2, 3, 3, 4, 5, 6};

const std::vector<int> sentence_ids = {1, 3, 5, 8, 9, 2, 4, 6, 8, 9};

/// Rows of a sequence, [tokens, layers, columns], as the front end writes them.
struct Rows {
  template <class Front>
  Rows(const Front& front, std::size_t tokens)
      : ids(tokens * static_cast<std::size_t>(front.num_layers() * front.num_columns())),
        view(ids.data(), tokens, front.num_layers(), front.num_columns()) {}

  std::vector<int> ids;
  View<int, 3> view;
};

/// The only thing that can go wrong in a hot call is an argument; the status says which.
void must(const Status& status) {
  if (!status.ok()) raise(fail(status.code, describe(status, "address")));
}

bool run() {
  const TokenMap map = TokenMap::make(canonical_ids).value();
  EngramConfig config = demo_preset().config;  // two layers, 2- and 3-grams, 8 heads each
  config.pad_id = 0;
  const Layout layout = make_layout(config, map).value();
  const auto front = make_front_end(layout, map).value();
  std::printf("two layers, %lld rows a token in each; tables of %lld and %lld rows\n\n",
              static_cast<long long>(front.num_columns()),
              static_cast<long long>(front.num_rows(0)), static_cast<long long>(front.num_rows(1)));

  // 1. A sentence in one call: what an engine does with a prompt.
  const std::vector<int>& ids = sentence_ids;
  Rows rows(front, ids.size());
  NgramState state = front.initial_state();
  must(front.address(ids, state, rows.view));
  std::printf("%-10s  layer %2d: 2-gram    3-gram   layer %2d: 2-gram    3-gram   (head 0 of 8)\n",
              "token", layout.layers[0].layer_id, layout.layers[1].layer_id);
  for (std::size_t t = 0; t < ids.size(); ++t)
    std::printf("%-10s %17d %9d %18d %9d\n", spellings[ids[t]], rows.view(t, 0, 0),
                rows.view(t, 0, 8), rows.view(t, 1, 0), rows.view(t, 1, 8));
  // "Great" at 2 and "great" at 7 end the same two 2-grams, once spelling is left out.
  const bool shared = rows.view(2, 0, 0) == rows.view(7, 0, 0);
  std::printf("\n\"the Great\" and \"The great\" read the same rows: %s\n", shared ? "yes" : "NO");

  // 2. The same in chunks of three: chunked prefill, or one token at a time while decoding.
  Rows chunked(front, ids.size());
  NgramState chunk_state = front.initial_state();
  for (std::size_t begin = 0; begin < ids.size(); begin += 3) {
    const std::size_t count = std::min<std::size_t>(3, ids.size() - begin);
    const View<const int, 1> chunk(ids.data() + begin, count);
    must(front.address(chunk, chunk_state,
                       chunked.view.slice(static_cast<Index>(begin), static_cast<Index>(count))));
  }
  const bool same = chunked.ids == rows.ids && chunk_state == state;
  std::printf("chunks of three give the rows of one call:        %s\n", same ? "yes" : "NO");

  // 3. Two drafted tokens are rejected. A state is 32 bytes: copied before, put back after.
  const NgramState before = state;
  const std::vector<int> draft = {1, 7};
  Rows draft_rows(front, draft.size());
  must(front.address(draft, state, draft_rows.view));
  state = before;
  const std::vector<int> accepted = {4};
  Rows after(front, 1), expected(front, 1);
  must(front.address(accepted, state, after.view));
  must(front.address(accepted, chunk_state, expected.view));
  const bool rolled_back = after.ids == expected.ids;
  std::printf("a rejected draft leaves no trace:                 %s\n", rolled_back ? "yes" : "NO");
  return shared && same && rolled_back;
}

}  // namespace

int main() try { return run() ? 0 : 1; } catch (const std::exception& error) {
  std::fprintf(stderr, "rows_only: %s\n", error.what());
  return 1;
}
