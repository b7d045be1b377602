// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which rows are in which slot: against a list that is searched.
#include <catch.hpp>
#include <engram/cuda/resident_rows.hpp>
#include <random.hpp>

#include <algorithm>
#include <type_traits>
#include <vector>

using namespace engram;

static_assert(std::is_nothrow_move_constructible_v<ResidentRows> &&
              std::is_move_assignable_v<ResidentRows> &&
              !std::is_copy_constructible_v<ResidentRows>);

namespace {

/// Rows by use, the last used first; -1: a slot without one.
struct Model {
  struct Entry {
    Index row, slot;
  };
  std::vector<Entry> entries{};

  auto of_row(Index row) {
    return std::find_if(entries.begin(), entries.end(),
                        [row](const Entry& e) { return e.row == row; });
  }
  void use(std::vector<Entry>::iterator found) { std::rotate(entries.begin(), found, found + 1); }
};

void check_against_model(std::uint64_t seed, Index num_rows, Index slots) {
  INFO("seed " << seed << ", " << num_rows << " rows, " << slots << " slots");
  Random random(seed);
  ResidentRows rows = ResidentRows::make(num_rows, slots).value();
  REQUIRE(rows.num_slots() == slots);
  Model model;
  for (int step = 0; step < 3000; ++step) {
    const Index row = random.below(2) == 0 ? random.zipf(num_rows) : random.below(num_rows);
    const auto found = model.of_row(row);
    const Index slot = rows.find(RowId{row});
    REQUIRE(slot == (found == model.entries.end() ? -1 : found->slot));
    if (slot >= 0 && random.below(10) == 0) {
      rows.remove(slot);
      rows.remove(slot);  // has none any more
      found->row = -1;
      std::rotate(found, found + 1, model.entries.end());
    } else if (slot >= 0) {
      model.use(found);
    } else {
      const Index given = rows.add(RowId{row});
      if (static_cast<Index>(model.entries.size()) < slots) {
        for (const Model::Entry& e : model.entries) REQUIRE(e.slot != given);
        model.entries.insert(model.entries.begin(), {row, given});
      } else {
        REQUIRE(given == model.entries.back().slot);
        model.entries.back().row = row;
        model.use(model.entries.end() - 1);
      }
      REQUIRE(given >= 0);
      REQUIRE(given < slots);
    }
    if (random.below(500) == 0) {
      rows.clear();
      rows.remove(random.below(slots));  // no slot has a row
      model.entries.clear();
    }
  }
}

}  // namespace

TEST_CASE("resident rows: as a list by use") {
  check_against_model(1, 1, 1);
  check_against_model(2, 10, 3);
  check_against_model(3, 100, 7);
  check_against_model(4, Index{1} << 40, 64);
  check_against_model(5, 1000, 999);
}

TEST_CASE("resident rows: a row that was used stays longer than one that came before it") {
  ResidentRows rows = ResidentRows::make(100, 3).value();
  for (const Index row : {5, 6, 7}) (void)rows.add(RowId{row});
  CHECK(rows.find(RowId{5}) >= 0);
  (void)rows.add(RowId{8});
  CHECK(rows.find(RowId{6}) == -1);
  CHECK(rows.find(RowId{5}) >= 0);
  CHECK(rows.find(RowId{7}) >= 0);
}

TEST_CASE("resident rows: sizes that cannot be") {
  CHECK(ResidentRows::make(0, 1).status().code == Code::invalid_config);
  CHECK(ResidentRows::make(1, 0).status().code == Code::invalid_config);
  CHECK(ResidentRows::make(1, Index{1} << 31).status().code == Code::invalid_config);
  CHECK(ResidentRows::make((Index{1} << 62) + 1, 1).status().code == Code::invalid_config);
}
