// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The demo's comparison with small models and a small text: the figures agree with each other, an
// interrupted run has a curve to its end, and the report is safe to open.
#if __has_include(<Eigen/Core>) && __has_include("demo/report.hpp")

#include <catch.hpp>
#include <contains.hpp>

#include "small_demo.hpp"

using namespace small_demo;

namespace {

/// Trains until `steps` or, when positive, `stop_at`.
Run run_once(const text::Corpus& corpus, std::vector<Contender>& contenders, Index steps,
             Index stop_at) {
  const std::vector<std::int32_t> all =
      text::cut_windows(corpus.training, corpus.end, context + 1, 1);
  const std::vector<std::int32_t> unseen =
      text::cut_windows(corpus.held_out, corpus.end, context + 1, 2);
  const View<const std::int32_t, 2> windows(
      all.data(), static_cast<Index>(all.size()) / (context + 1), context + 1);
  const View<const std::int32_t, 2> held_out(
      unseen.data(), static_cast<Index>(unseen.size()) / (context + 1), context + 1);
  const Passage passage = choose_passage(corpus, context + 1).value();
  Run run;
  run.corpus = &corpus;
  run.contenders = &contenders;
  run.options.steps = steps;
  run.options.threads = 1;
  volatile std::sig_atomic_t stop = stop_at == 1 ? 1 : 0;
  train_in_lockstep(contenders, run.options, windows, held_out, stop, [&](Index step) {
    run.steps_done = step;
    if (step + 1 == stop_at) stop = 1;
  }).value();
  run.partial = run.steps_done < steps;
  run.findings = look_into(contenders, corpus, windows, run.steps_done * run.options.sequences,
                           held_out, passage, 1)
                     .value();
  run.cold = read_cold(contenders[1].model, passage.tokens).value();
  return run;
}

}  // namespace

TEST_CASE("the demo's figures agree with each other") {
  const text::Corpus corpus = small_corpus();
  std::vector<Contender> contenders = small_contenders(corpus);
  const Run run = run_once(corpus, contenders, 200, 0);
  const Findings& f = run.findings;

  CHECK(run.steps_done == 200);
  CHECK_FALSE(run.partial);
  CHECK(f.all.share == Approx(1));
  CHECK(f.all.gain == Approx(f.models[0].nats - f.models[1].nats).margin(1e-6));
  CHECK(f.all.one_row_gain == Approx(f.models[0].nats - f.models[2].nats).margin(1e-6));
  CHECK(f.all.gain > 2 * f.all.error);
  CHECK(f.all.gain > f.all.one_row_gain);
  for (const std::vector<StratumFound>& strata_found : f.by_order) {
    double share = 0, gain = 0;
    for (const StratumFound& s : strata_found) {
      share += s.share;
      gain += s.share * s.gain;
    }
    CHECK(share == Approx(1));
    CHECK(gain == Approx(f.all.gain).margin(1e-6));
  }
  CHECK(f.by_order[0][0].share < f.by_order[1][0].share);  // 3-grams are rarer
  CHECK(f.knocked_out > f.models[1].nats);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(contenders[i].curve.back().step == 200);
    CHECK(f.models[i].at_equal_time >= f.models[i].nats - 1e-9);
    CHECK(contenders[i].losses.size() == 200);
  }
  REQUIRE(f.passage.size() == context);
  CHECK(contains(conclusion(run), "most of it is what the rows hold"));
  CHECK(run.cold.left_out.empty());
  CHECK(run.cold.rows == context * 4);
  CHECK(contains(html_report(run), "<td>" + std::to_string(run.cold.rows) + "</td>"));
}

TEST_CASE("an interrupted demo has a curve to its last step, and says that it is partial") {
  const text::Corpus corpus = small_corpus();
  for (const Index stop_at : {1, 3}) {
    std::vector<Contender> contenders = small_contenders(corpus);
    const Run run = run_once(corpus, contenders, 60, stop_at);
    CHECK(run.steps_done == stop_at);
    CHECK(run.partial);
    CHECK(contenders[0].curve.back().step == stop_at);
    CHECK(contains(html_report(run), "interrupted after " + std::to_string(stop_at) + " of 60"));
    CHECK_FALSE(contains(html_report(run), "nan"));
    CHECK(contains(html_report(run), "equal the table in memory"));
  }
}

TEST_CASE("the report escapes the text and needs no other file") {
  const text::Corpus corpus = small_corpus();
  std::vector<Contender> contenders = small_contenders(corpus);
  Run run = run_once(corpus, contenders, 1, 0);
  run.findings.passage[0].text = "<script>\"&\n";
  run.findings.passage_name = "<b>name";
  run.cold.left_out = "<i>folder";
  const std::string html = html_report(run);
  CHECK(contains(html, "&lt;script&gt;&quot;&amp;"));
  CHECK(contains(html, "&lt;b&gt;name"));
  CHECK(contains(html, "not read back from a disk: &lt;i&gt;folder"));
  CHECK_FALSE(contains(html, "<script"));
  CHECK_FALSE(contains(html, "http"));
}

TEST_CASE("a conclusion claims no more than the error allows") {
  const text::Corpus corpus = small_corpus();
  std::vector<Contender> contenders = small_contenders(corpus);
  Run run = run_once(corpus, contenders, 1, 0);
  const auto says = [&](double gain, double error, double one_row) {
    run.findings.all = {1, gain, error, one_row};
    return conclusion(run);
  };
  CHECK(contains(says(0.2, 0.01, 0.03), "better by 0.200"));
  CHECK(contains(says(0.2, 0.01, 0.03), "most of it is what the rows hold"));
  CHECK(contains(says(0.2, 0.01, 0.15), "at least half of it is not what the rows hold"));
  CHECK(contains(says(-0.2, 0.01, -0.3), "worse by 0.200"));
  CHECK_FALSE(contains(says(-0.2, 0.01, -0.3), "what the rows hold"));
  CHECK(contains(says(0.2, 0.15, 0.03), "as good"));
  CHECK(contains(says(0.2, INFINITY, 0.03), "as good"));
}

#endif
