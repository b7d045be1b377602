// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The experiment's figures, what is concluded from them, and its models on a few steps.
#if __has_include(<Eigen/Core>) && __has_include("knockout/models.hpp")

#include <catch.hpp>
#include <contains.hpp>

#include "knockout/models.hpp"

#include <cmath>

using namespace engram;
using namespace engram::knockout;

namespace {

std::vector<SeedFound> seeds(std::initializer_list<Accuracy> off) {
  std::vector<SeedFound> found;
  for (const Accuracy& a : off)
    found.push_back({found.size() + 1, {1, 0.95}, {a.facts, 0.95 * a.copies}, {0.125, 0.5}});
  return found;
}

}  // namespace

TEST_CASE("accuracy counts the places of each task and no others") {
  const Sequences sequences{{},
                            {Kind::other, Kind::fact, Kind::fact, Kind::fact, Kind::fact,
                             Kind::copy, Kind::other, Kind::copy}};
  const Accuracy a = accuracy(sequences, {1, 1, 0, 0, 0, 1, 1, 0});
  CHECK(a.facts == 0.25);
  CHECK(a.copies == 0.5);
}

TEST_CASE("the conclusion says what is shown, or why nothing is") {
  const std::string clear = conclusion(seeds({{0.2, 0.9}, {0.4, 1.0}}));
  CHECK(contains(clear, "Shown: "));
  CHECK(contains(clear, "30.0 % of the facts and 95.0 % of the copying"));
  CHECK(contains(clear, "65.0 points apart (standard error 5.0, 2 seeds)"));

  CHECK(contains(conclusion(seeds({{0.70, 0.99}, {0.71, 0.99}})), "Not what was expected"));
  CHECK(contains(conclusion(seeds({{0.70, 0.2}, {0.71, 0.2}})), "less than 30"));
  CHECK(contains(conclusion(seeds({{0.1, 1.0}, {0.9, 1.0}})), "less than two of them"));
  CHECK(contains(conclusion(seeds({{0.1, 1.0}})), "one seed"));

  for (const Accuracy bad : {Accuracy{0.89, 1}, Accuracy{1, 0.89}, Accuracy{0, 0}}) {
    std::vector<SeedFound> found = seeds({{0.2, 0.9}, {0.4, 1.0}});
    found[1].on = bad;
    CHECK(contains(conclusion(found), "No conclusion: with its memory on, the model of seed 2"));
  }
}

TEST_CASE("the table has the means, and a dash for what cannot be") {
  std::vector<SeedFound> found = seeds({{0.2, 0.9}, {0.4, 1.0}});
  const std::string rows = table(found);
  for (const char* words : {"100.0 +- 0.0", "95.0 +- 0.0", "30.0 +- 10.0", "95.0 +- 5.0",
                            "12.5 +- 0.0", "50.0 +- 0.0", "Apart: 65.0 +- 5.0 points"})
    CHECK(contains(rows, words));
  found[0].on.facts = 0;
  CHECK(contains(table(found), "Apart: - points"));
  CHECK(csv_header() + csv_lines(found[1]) ==
        "seed,model,facts,copies\n"
        "2,memory on,1.000000,0.950000\n"
        "2,memory silenced,0.400000,0.950000\n"
        "2,without memory,0.125000,0.500000\n");
}

TEST_CASE("models take their steps, and only a memory that has learned can be silenced") {
  const Text text = Text::make({.facts = 8, .key_tokens = 8, .seed = 4}).value();
  const Sequences unseen = text.draw(64, 99);
  Index steps = 0;
  double loss = 0;
  const auto after = [&](Index step, double now) {
    CHECK(step == ++steps);
    loss = now;
  };
  const lm::Model with = train(text, true, 40, 2, after).value();
  CHECK(steps == 40);
  CHECK(loss < 4.5);  // ln 218 = 5.4 at first
  const Accuracy on = measure(with, unseen, 2, false).value();
  const Accuracy off = measure(with, unseen, 2, true).value();
  CHECK(on.facts > 0.9);
  CHECK(off.facts < on.facts);
  const lm::Model without = make_model(text, false).value();
  CHECK(without.parameters().total < with.parameters().total);
  const Accuracy never = measure(without, unseen, 1, false).value();
  CHECK(never.facts == measure(without, unseen, 2, true).value().facts);
  CHECK(never.copies < 0.1);
}

#endif
