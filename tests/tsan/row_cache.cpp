// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Warps that race for the slots of a GPU's cache of rows, here as threads, with ThreadSanitizer.
// Without an argument it does nothing: can it start?
#include "../unit/cuda/threaded_cache.hpp"

#include <engram/codec/fp8.hpp>
#include <engram/storage/host_store.hpp>

#include <cstdio>

using namespace threaded_cache;

namespace {

/// Warps of 32 threads in one batch, all with the same ids.
std::string same_ids() {
  const Bf16Codec codec;
  constexpr Index width = 64, count = 60;
  const HostStore base = random_table(codec, 50, width, 5);
  Cache cache(2, base);
  Random random(6);
  for (int turn = 0; turn < 5; ++turn) {
    const std::vector<int> ids = zipf_ids(count, 50, random);
    std::vector<Bf16> out[3];
    for (std::vector<Bf16>& rows : out) rows = poisoned<Bf16>(count * width);
    Reports::Found found;
    Shared shared[3];
    ThreadedWarp::run_warps(3, [&](int warp) {
      run_share<ManyThreads>(cache, shared[warp], base.ref(), codec,
                             View<const int, 2>(ids.data(), count, 1), base.num_rows(), width,
                             View<Bf16, 2>(out[warp].data(), count, width), Reports{&found}, 0, 1);
    });
    for (const std::vector<Bf16>& rows : out)
      if (wrong_rows(base, codec, width, ids, rows) != 0) return "a warp's rows are not the base's";
  }
  return {};
}

}  // namespace

int main(int count, char**) {
  if (count < 2) return 0;
  std::string fault = overlapping_calls(Fp8Codec(), 64, 4, 1000);
  if (fault.empty()) fault = same_ids();
  std::printf("%s\n", fault.empty() ? "every row was right" : fault.c_str());
  return fault.empty() ? 0 : 1;
}
