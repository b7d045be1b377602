// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "ledger.hpp"

#include <engram/io/file.hpp>

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace engram::study {
namespace {

constexpr std::string_view columns =
    "variant,rate,seed,parameters,active,nats_for_choice,nats,seconds\n";

/// The next field of a line, taken off its front.
std::string_view take_field(std::string_view& line) {
  const std::size_t end = std::min(line.find(','), line.size());
  const std::string_view field = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return field;
}

template <class Number>
bool take(std::string_view& line, Number& to) {
  const std::string_view field = take_field(line);
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), to);
  return error == std::errc() && end == field.data() + field.size();
}

}  // namespace

Result<Ledger> Ledger::open(const std::string& path, const std::string& settings) {
  Ledger ledger;
  ledger.path_ = path;
  ledger.text_ = sentence({"# ", settings, "\n", columns});
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {  // what cannot be written is known before any work
    if (Result<void> written = ledger.write(ledger.text_); !written.ok()) return written.failure();
    return ledger;
  }
  const Result<std::string> read = read_regular_file(path);
  if (!read.ok()) return read.failure();
  std::string_view left = read.value();
  if (!left.starts_with(ledger.text_))
    return fail(Code::mismatch,
                {path, ": results of another study, it begins with \"",
                 left.substr(0, std::min(left.find('\n'), left.size())), "\", expected \"# ",
                 settings, "\"; name another file or remove this one"});
  left.remove_prefix(ledger.text_.size());
  for (Index number = 3; !left.empty(); ++number) {
    const std::size_t end = left.find('\n');
    const bool page_is_good = end != left.npos;
    std::string_view line = left.substr(0, end);
    left.remove_prefix(page_is_good ? end + 1 : left.size());
    Entry entry;
    entry.trial.variant = take_field(line);
    Outcome& o = entry.outcome;
    if (!page_is_good || !take(line, entry.trial.rate) || !take(line, entry.trial.seed) ||
        !take(line, o.total) || !take(line, o.active) || !take(line, o.choice) ||
        !take(line, o.loss) || !take(line, o.seconds) || !line.empty())
      return fail(Code::corrupt, {path, ": line ", number, " is no result"}, number);
    ledger.entries_.push_back(std::move(entry));
  }
  ledger.text_ = read.value();
  return ledger;
}

const Outcome* Ledger::find(const Trial& trial) const {
  for (const Entry& entry : entries_)
    if (entry.trial == trial) return &entry.outcome;
  return nullptr;
}

Result<void> Ledger::write(std::string text) {
  if (Result<void> written = write_file(path_, as_bytes(text), Sync::disk); !written.ok())
    return written;
  text_ = std::move(text);
  return {};
}

Result<void> Ledger::add(const Trial& trial, const Outcome& o) {
  const Result<std::string> there = read_regular_file(path_);
  if (!there.ok()) return there.failure();
  if (there.value() != text_) return fail(Code::mismatch, {path_, ": changed by another program"});
  std::string line = trial.variant;
  const auto put = [&line](auto value) {
    char digits[40];
    line.append(",").append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  };
  put(trial.rate);
  put(trial.seed);
  put(o.total);
  put(o.active);
  put(o.choice);
  put(o.loss);
  put(o.seconds);
  if (Result<void> written = write(text_ + line + "\n"); !written.ok()) return written;
  entries_.push_back({trial, o});
  return {};
}

}  // namespace engram::study
