// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <engram/addressing/dedupe.hpp>
#include <engram/addressing/sharding.hpp>
#include <engram/layer/front_end.hpp>
#include <engram/layer/presets.hpp>
#include <engram/tokenizer/identity.hpp>

#include <catch.hpp>
#include <cstdio>
#include <map>
#include <random.hpp>
#include <set>

using namespace engram;

namespace {

LayerLayout small_layer() {
  AddressingConfig config;
  config.engram_vocab_size = {5, 9};
  config.max_ngram_size = 3;
  config.n_head_per_ngram = 3;
  config.layer_ids = {0};
  return make_layout(config, IdentityCompressor(64)).value().layers[0];
}

/// Every row has one owner, a local id within the owner's rows, and comes back from it.
template <class S>
void check_split(const S& split, Index rows) {
  std::map<int, std::set<Index>> held;
  for (Index r = 0; r < rows; ++r) {
    const int owner = split.owner(RowId{r});
    REQUIRE((owner >= 0 && owner < split.num_ranks()));
    const LocalRowId local = split.to_local(RowId{r});
    REQUIRE((to_integer(local) >= 0 && to_integer(local) < split.local_rows(owner)));
    REQUIRE(split.to_global(owner, local) == RowId{r});
    REQUIRE(held[owner].insert(to_integer(local)).second);
  }
  Index sum = 0;
  for (int rank = 0; rank < split.num_ranks(); ++rank) sum += split.local_rows(rank);
  CHECK(sum == rows);
}

/// Real prose where it is at hand: words of a text as ids, most frequent first.
std::vector<std::int32_t> words_of_a_text() {
  std::vector<std::int32_t> ids;
  const std::string path = std::string(ENGRAM_SHARED_DATA_DIR) + "/text/wikitext2-test.txt";
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) {
    std::printf("[skipped] imbalance on real text: %s is not here\n", path.c_str());
    return ids;
  }
  std::map<std::string, std::int32_t> known;
  std::string word;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) {
    if (c != ' ' && c != '\n') {
      word += static_cast<char>(c);
    } else if (!word.empty()) {
      ids.push_back(known.emplace(word, static_cast<std::int32_t>(known.size())).first->second);
      word.clear();
    }
  }
  std::fclose(file);
  return ids;
}

}  // namespace

TEST_CASE("every split gives each row one owner and back") {
  const LayerLayout layer = small_layer();
  for (int ranks = 1; ranks <= 8; ++ranks) {
    INFO(ranks << " ranks");
    check_split(RowRangeSharding(layer.rows, ranks), layer.rows);
    check_split(HeadSharding::contiguous(layer, ranks), layer.rows);
    check_split(HeadSharding::strided(layer, ranks), layer.rows);
  }
}

TEST_CASE("row ranges are those of the original's tensor parallelism") {
  const RowRangeSharding split(384006168, 8);
  CHECK(split.local_rows(0) == 48000771);
  CHECK(split.owner(RowId{48000771}) == 1);
  CHECK(split.to_local(RowId{48000771}) == LocalRowId{0});
  const RowRangeSharding uneven(10, 4);  // 3, 3, 3, 1
  CHECK(uneven.local_rows(3) == 1);
  CHECK(RowRangeSharding(3, 8).local_rows(7) == 0);
}

TEST_CASE("strided heads take some of every order") {
  const Layout layout =
      make_layout(deepseek_v41_preset().config, IdentityCompressor(99092)).value();
  const HeadSharding strided = HeadSharding::strided(layout.layers[0], 4);
  const HeadSharding contiguous = HeadSharding::contiguous(layout.layers[0], 4);
  for (int head = 0; head < 24; ++head) {
    CHECK(strided.owner(HeadId{head}) == head % 4);
    CHECK(contiguous.owner(HeadId{head}) == head / 6);
  }
}

TEST_CASE("imbalance is the busiest rank over the mean") {
  const std::vector<std::int64_t> rows = {0, 1, 2, -1, 9};
  CHECK(rank_imbalance(RowRangeSharding(10, 2), View(rows)) == 1.5);
  const std::vector<std::int64_t> none = {-1};
  CHECK(rank_imbalance(RowRangeSharding(10, 2), View(none)) == 1.0);
}

TEST_CASE("strided heads load the ranks within 1.1 on real text, contiguous heads do not") {
  const std::vector<std::int32_t> text = words_of_a_text();
  if (text.empty()) return;
  const Layout layout =
      make_layout(deepseek_v41_preset().config, IdentityCompressor(99092)).value();
  const auto front = make_front_end(layout, IdentityCompressor(99092)).value();
  const Index tokens = 16384;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(tokens * 48));
  const View<std::int64_t, 3> view(rows.data(), tokens, 2, 24);
  NgramState state = front.initial_state();
  const View<const std::int32_t, 1> chunk(text.data(), tokens);
  REQUIRE(front.address(chunk, state, view).ok());
  std::vector<std::int64_t> unique(static_cast<std::size_t>(tokens * 24));
  std::vector<std::int32_t> scatter(unique.size());
  std::vector<std::byte> workspace(dedupe_workspace_bytes(tokens * 24));
  for (int layer = 0; layer < 2; ++layer) {
    Index found = 0;
    const View<const std::int64_t, 2> of_layer = view.at<1>(layer);
    REQUIRE(plan_dedupe(of_layer, front.num_rows(layer), View<std::int64_t, 1>(unique),
                        View<std::int32_t, 1>(scatter), found, View<std::byte, 1>(workspace))
                .ok());
    const View<const std::int64_t, 1> distinct(unique.data(), found);
    const LayerLayout& heads = layout.layers[static_cast<std::size_t>(layer)];
    for (const int ranks : {2, 4, 8})
      CHECK(rank_imbalance(HeadSharding::strided(heads, ranks), distinct) < 1.1);
    CHECK(rank_imbalance(HeadSharding::contiguous(heads, 4), distinct) > 1.15);
  }
}
