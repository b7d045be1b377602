// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The golden files through what a GPU runs, by the CPU's threads. tests/cuda runs the same on a
// card.
#include "threaded_calls.hpp"

#include <golden_module.hpp>
#include <golden_rows.hpp>
#include <host_arrays.hpp>

using namespace engram;

TEST_CASE("golden on a GPU's threads: modules, forward and backward") {
  HostArrays memory;
  Reports::Found wrong;
  golden_module::check_all(ThreadedDevice{Reports{&wrong}}, memory);
  CHECK(wrong.code == Code::ok);
}

TEST_CASE("golden on a GPU's threads: stored rows") {
  HostArrays memory;
  Reports::Found wrong;
  golden_rows::check_all(ThreadedDevice{Reports{&wrong}}, memory);
  CHECK(wrong.code == Code::ok);
}
