// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "commands.hpp"
#include "geometry.hpp"
#include "numbers.hpp"
#include "standard_input.hpp"

#include <engram/io/file.hpp>
#include <engram/layer/front_end.hpp>
#include <engram/tokenizer/identity.hpp>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

namespace engram::cli {

namespace {

struct AddressOptions {
  explicit AddressOptions(CLI::App& app) : geometry(app) {}

  GeometryOptions geometry;
  std::string ids, token_map, dead, history;
};

/// The ids of --ids: typed, @FILE or - for standard input.
Result<std::vector<std::int64_t>> read_ids(const std::string& text) {
  std::string content = text;
  const bool from_file = text.substr(0, 1) == "@";
  if (text.empty() || text == "@")
    throw CLI::ValidationError("--ids", "there are no ids and no file name");
  if (from_file) {
    Result<std::string> file = read_file(text.substr(1));
    if (!file.ok()) return file.failure();
    content = std::move(file).value();
  } else if (text == "-") {
    Result<std::string> input = read_standard_input();
    if (!input.ok()) return input.failure();
    content = std::move(input).value();
  }
  auto ids = parse_numbers<std::int64_t>(content);
  if (ids) return *std::move(ids);
  if (from_file || text == "-")
    return fail(Code::corrupt, {"--ids: ", text == "-" ? "standard input" : text.substr(1),
                                " holds something that is no number"});
  throw CLI::ValidationError("--ids", sentence({"'", text, "' is no list of numbers"}));
}

/// Adds a mark at each position; they must lie in the call.
Result<void> mark(std::vector<Mark>& marks, const std::vector<std::int64_t>& positions, Mark bit,
                  const char* option) {
  for (const std::int64_t p : positions) {
    if (p < 0 || p >= static_cast<std::int64_t>(marks.size()))
      return fail(Code::shape_mismatch,
                  {option, ": position ", p, " is not among the ", marks.size(), " ids"});
    marks[static_cast<std::size_t>(p)] |= bit;
  }
  return {};
}

/// Runs a front end over the ids and prints rows and state.
template <class Front>
Result<void> address_and_print(const Front& front, const Layout& layout,
                               const AddressOptions& options, const std::vector<std::int64_t>& ids,
                               const std::vector<Mark>& marks) {
  NgramState state = front.initial_state();
  if (!options.history.empty()) {
    const auto history = numbers_of<std::int32_t>("--history", options.history);
    const Status status =
        state_from_history(front.extractor(), View(history), layout.canonical_size, state);
    if (!status.ok()) {
      const auto at = static_cast<std::size_t>(status.index);
      if (static_cast<Index>(history.size()) != layout.max_ngram_size - 1)
        return fail(status.code, {"--history: ", history.size(), " ids, expected ",
                                  layout.max_ngram_size - 1, ", oldest first"});
      return fail(status.code, {"--history: ", history[at], " at position ", at,
                                " is not a canonical id below ", layout.canonical_size, " or -1"});
    }
  }
  const auto tokens = static_cast<Index>(ids.size());
  const auto layers = static_cast<Index>(layout.layers.size());
  const Index columns = layout.columns();
  std::vector<Index> rows(static_cast<std::size_t>(tokens * layers * columns));
  const View<Index, 3> view(rows.data(), tokens, layers, columns);
  if (const Status status = front.address(ids, state, view, View(marks)); !status.ok()) {
    const std::string which =
        status.code == Code::bad_token
            ? sentence({" (id ", ids[static_cast<std::size_t>(status.index)], ")"})
            : std::string();
    return fail(status.code, engram::describe(status, "--ids") + which);
  }
  nlohmann::ordered_json printed_rows = nlohmann::ordered_json::array();
  for (Index t = 0; t < tokens; ++t) {
    nlohmann::ordered_json token = nlohmann::ordered_json::array();
    for (Index l = 0; l < layers; ++l) {
      const Index* row = &view(t, l, 0);
      token.push_back(std::vector<Index>(row, row + columns));
    }
    printed_rows.push_back(std::move(token));
  }
  std::vector<std::int32_t> oldest_first;
  for (int s = state.length - 1; s >= 0; --s) oldest_first.push_back(state.ids[s]);
  std::cout << nlohmann::ordered_json{{"rows", printed_rows}, {"state", oldest_first}} << '\n';
  return {};
}

template <class Compressor>
Result<void> run(const AddressOptions& options, const Layout& layout, Compressor compressor,
                 const std::vector<std::int64_t>& ids, const std::vector<Mark>& marks) {
  const auto with = [&](const auto& front) {
    if (!front.ok()) return Result<void>(front.failure());
    return address_and_print(front.value(), layout, options, ids, marks);
  };
  if (layout.mixer == Mixer::polynomial)
    return with(make_front_end<Polynomial>(layout, std::move(compressor)));
  return with(make_front_end(layout, std::move(compressor)));
}

}  // namespace

Command add_address(CLI::App& program) {
  CLI::App* app = program.add_subcommand("address", "print the table rows of token ids");
  const auto o = std::make_shared<AddressOptions>(*app);
  app->add_option("--ids", o->ids,
                  "5,7,11, or @FILE, or - for standard input; canonical ids unless "
                  "--token-map is given")
      ->required();
  app->add_option("--token-map", o->token_map, "saved map: the ids are token ids")
      ->check(file_name());
  app->add_option("--dead", o->dead, "masked positions: 3,4");
  app->add_option("--history", o->history,
                  "the N - 1 canonical ids before, oldest first; -1 = dead");
  return {app, [app, o]() -> Result<void> {
            const auto dead = app->count("--dead") > 0 ? numbers_of<std::int64_t>("--dead", o->dead)
                                                       : std::vector<std::int64_t>();
            if (app->count("--history") > 0)
              (void)numbers_of<std::int32_t>("--history", o->history);
            std::optional<TokenMap> map;
            if (!o->token_map.empty()) {
              Result<std::string> file = read_file(o->token_map);
              if (!file.ok()) return file.failure();
              Result<TokenMap> read = TokenMap::from_bytes(as_bytes(file.value()));
              if (!read.ok()) return fail(read.status().code, {o->token_map, ": ", read.message()});
              map = std::move(read).value();
            }
            const Result<Geometry> geometry = o->geometry.resolve(map);
            if (!geometry.ok()) return geometry.failure();
            const Layout& layout = geometry.value().layout;
            const Result<std::vector<std::int64_t>> ids = read_ids(o->ids);
            if (!ids.ok()) return ids.failure();
            std::vector<Mark> marks(ids.value().size(), Mark::token);
            if (auto marked = mark(marks, dead, Mark::dead, "--dead"); !marked.ok()) return marked;
            if (auto marked =
                    mark(marks, geometry.value().document_starts, Mark::start, "--boundary starts");
                !marked.ok())
              return marked;
            for (std::size_t t = 0; t < marks.size(); ++t)
              if (ids.value()[t] < 0)  // dead positions are named by --dead, never by their id
                return fail(Code::bad_token, {"--ids: the id at position ", t, " is negative"});
            if (map) return run(*o, layout, *std::move(map), ids.value(), marks);
            return run(*o, layout, IdentityCompressor(layout.canonical_size), ids.value(), marks);
          }};
}

}  // namespace engram::cli
