// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A scenario is calls of the library's public interface. It runs once as it is, to count its calls
// of the system, and then again for each of these calls and each fault that the call can have.
// Whatever happens, the result is right to the byte or a failure that says so, nothing is left
// open or on its way, and the same calls work afterwards.

#include "shim.hpp"

#include <catch.hpp>
#include <engram/core/status.hpp>
#include <scratch.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

namespace fault {

using namespace engram;
namespace fs = std::filesystem;

/// How a run ended.
struct Outcome {
  Status status;
  std::string bytes;      ///< what came of it
  std::string complaint;  ///< what must not be whatever befalls; empty: nothing
};

/// A failure of a factory: it has a sentence.
inline Outcome failed(const Failure& why) {
  return {why.status, {}, why.message.size() < 10 ? "a factory failed without a sentence" : ""};
}
inline Outcome failed(Status why) { return {why, {}, {}}; }

/// Whether nothing writes to the bytes any more; waits for 5 ms.
inline bool rests(const std::string& bytes) {
  const std::string before = bytes;
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return bytes == before;
}

struct Scenario {
  std::string folder;  ///< calls on paths below it count
  std::function<Outcome()> run;
  std::string right;  ///< the bytes that must come
  std::string file;   ///< they are what this file holds after a run that is ok; empty: the run's
  /// Before each run that is not the one after a failure.
  std::function<void()> prepare = [] {};
  /// After each run: what is wrong with the files, or nothing.
  std::function<std::string(const Outcome&)> check = [](const Outcome&) { return std::string(); };
  /// Calls that must occur, so that a call that is no longer behind the shim is noticed.
  std::vector<shim::Call> expected;
  bool flips_are_found = true;  ///< else a flipped bit may give other bytes, and nobody can tell
  bool ends_are_found = true;   ///< the same of a file that is said to end early
  /// Calls of which EINTR, EAGAIN, a part and nothing are no failure, because they are made again.
  std::vector<shim::Call> tried_again;
  std::vector<shim::Call> only;  ///< no faults at other calls; empty: at all
  long most_of_a_kind = 400;     ///< calls of a kind that are hit, spread over all of them
};

inline long open_descriptors() {
  return static_cast<long>(
      std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
}

inline std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// An empty folder of this case.
inline std::string new_folder(const std::string& name) {
  const std::string folder = scratch_path(name);
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

/// What is wrong with a run that a fault may have befallen; empty: nothing.
inline std::string judge(const Scenario& scenario, const Outcome& outcome, const shim::Plan& plan) {
  using F = shim::Fault;
  const F fault = plan.fault;
  if (!outcome.complaint.empty()) return outcome.complaint;
  const bool passes =
      fault == F::eintr || fault == F::eagain || fault == F::shorter || fault == F::nothing;
  const auto& again = scenario.tried_again;
  if (!outcome.status.ok() && (fault == F::slow || (passes && std::find(again.begin(), again.end(),
                                                                        plan.call) != again.end())))
    return "this is no failure";
  if (std::string wrong = scenario.check(outcome); !wrong.empty()) return wrong;
  if (!outcome.status.ok() || outcome.bytes == scenario.right) return {};
  const bool ends = fault == F::shorter || fault == F::nothing;
  if (shim::is_flip(fault) && !scenario.flips_are_found) return {};
  if (ends && !scenario.ends_are_found) return {};
  return "other bytes came, and no failure";
}

/// Every fault at every call. Gives how many.
inline long sweep(const Scenario& scenario) {
  std::signal(SIGALRM, [](int) { std::abort(); });  // a hang; the fault is in the INFO
  const auto run = [&](const shim::Plan& plan) {
    ::alarm(60);
    shim::arm(scenario.folder, plan);
    Outcome outcome = scenario.run();
    const shim::Counts counts = shim::disarm();
    ::alarm(0);
    if (outcome.status.ok() && !scenario.file.empty()) outcome.bytes = content_of(scenario.file);
    return std::pair(std::move(outcome), counts);
  };
  scenario.prepare();
  const auto [clean, counts] = run({});
  INFO("without a fault: " << describe(clean.status, "run") << clean.complaint);
  REQUIRE(clean.status.ok());
  REQUIRE(clean.complaint.empty());
  REQUIRE(clean.bytes == scenario.right);
  for (const shim::Call call : scenario.expected) {
    INFO("calls of " << shim::name(call));
    CHECK(counts[static_cast<std::size_t>(call)] > 0);
  }
  long faults = 0;
  for (std::size_t c = 0; c < shim::calls; ++c) {
    const auto call = static_cast<shim::Call>(c);
    const auto& only = scenario.only;
    if (!only.empty() && std::find(only.begin(), only.end(), call) == only.end()) continue;
    const long hit = std::min(counts[c], scenario.most_of_a_kind);
    for (long h = 0; h < hit; ++h) {
      for (const shim::Fault fault : shim::faults_of(call)) {
        const shim::Plan plan{call, (2 * h + 1) * counts[c] / (2 * hit), fault};
        INFO(shim::name(fault) << " at " << shim::name(call) << " " << plan.at << " of "
                               << counts[c]);
        scenario.prepare();
        const long before = open_descriptors();
        const Outcome outcome = run(plan).first;
        faults += shim::struck() ? 1 : 0;
        const std::string wrong = judge(scenario, outcome, plan);
        INFO(describe(outcome.status, "run") << "; " << wrong);
        const bool good = wrong.empty();
        CHECK(good);
        CHECK(open_descriptors() == before);
        const Outcome again = run({}).first;
        INFO("afterwards: " << describe(again.status, "run") << again.complaint);
        const bool works = again.status.ok() && again.complaint.empty() &&
                           again.bytes == scenario.right && scenario.check(again).empty();
        CHECK(works);
      }
    }
  }
  return faults;
}

}  // namespace fault
