// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "report.hpp"

#include "chart/chart.hpp"

#include <algorithm>
#include <cmath>

namespace engram::simulate {

namespace {

const char* const colors[] = {"#1971c2", "#e8590c", "#2f9e44", "#862e9c", "#c92a2a", "#495057"};

/// The lines of the outcomes that are wanted, one for each name.
template <class Name>
std::string chart_of(const std::vector<Outcome>& outcomes, const std::string& y_name,
                     const Name& name_of) {
  std::vector<chart::Line> lines;
  for (const Outcome& o : outcomes) {
    const std::string name = name_of(o);
    if (name.empty()) continue;
    auto line = std::find_if(lines.begin(), lines.end(), [&](auto& l) { return l.name == name; });
    if (line == lines.end()) {
      lines.push_back({name, colors[lines.size() % std::size(colors)], {}, false, {}});
      line = lines.end() - 1;
    }
    line->points.emplace_back(std::log2(static_cast<double>(o.bytes) / 1024),
                              100 * rate(sum(o.hits.late_hits), sum(o.hits.late_reads)));
  }
  for (chart::Line& line : lines) std::sort(line.points.begin(), line.points.end());
  return chart::line_chart(lines, "cache, log2 of KiB (10: 1 MiB, 20: 1 GiB)", y_name, true);
}

}  // namespace

double rate(Index hits, Index reads) {
  return reads == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(reads);
}

std::string csv(const Reads& reads, const std::vector<Outcome>& outcomes) {
  std::string text =
      "policy,orders,cache_bytes,cache_rows,share_of_table,order,hit_rate,hit_rate_second_half\n";
  for (const Outcome& o : outcomes) {
    const std::string cache =
        sentence({to_string(o.policy), ",", o.admitted.name, ",", o.bytes, ",", o.rows, ",",
                  chart::number(rate(o.rows, reads.table_rows()), 9), ","});
    const auto line = [&](const std::string& order, Index all, Index hits, Index late_all,
                          Index late_hits) {
      text += sentence({cache, order, ",",
                        o.policy == Policy::pinned ? "" : chart::number(rate(hits, all), 6), ",",
                        chart::number(rate(late_hits, late_all), 6), "\n"});
    };
    line("all", sum(o.hits.reads), sum(o.hits.hits), sum(o.hits.late_reads), sum(o.hits.late_hits));
    for (int order = 2; order <= reads.max_ngram_size; ++order) {
      const auto n = static_cast<std::size_t>(order);
      line(std::to_string(order), o.hits.reads[n], o.hits.hits[n], o.hits.late_reads[n],
           o.hits.late_hits[n]);
    }
  }
  return text;
}

std::string svg(const std::vector<Outcome>& outcomes) {
  if (outcomes.empty()) return chart::svg_file({});
  const std::string first = outcomes.front().admitted.name;
  std::vector<std::string> charts = {
      chart_of(outcomes, "hits in the second half in %, orders " + first, [&](const Outcome& o) {
        return o.admitted.name == first ? std::string(to_string(o.policy)) : "";
      })};
  const bool more = std::any_of(outcomes.begin(), outcomes.end(),
                                [&](const Outcome& o) { return o.admitted.name != first; });
  if (more) {
    const bool sets = std::any_of(outcomes.begin(), outcomes.end(),
                                  [](const Outcome& o) { return o.policy == Policy::set16; });
    const Policy policy = sets ? Policy::set16 : outcomes.front().policy;
    charts.push_back(chart_of(
        outcomes, sentence({"hits in the second half in %, ", to_string(policy), ", by orders"}),
        [&](const Outcome& o) {
          return o.policy == policy ? "orders " + o.admitted.name : std::string();
        }));
  }
  return chart::svg_file(charts);
}

}  // namespace engram::simulate
