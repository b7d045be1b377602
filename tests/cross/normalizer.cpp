// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The normaliser's golden strings with its own main, for machines that have no test framework.

#include "../golden/json_values.hpp"

#include <engram/unicode/normalizer.hpp>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: normalizer FOLDER-OF-GOLDEN-FILES\n");
    return 2;
  }
  const Value golden = read_values(std::string(argv[1]) + "/vectors/normalizer_vectors.json");
  int failures = 0;
  for (const Value& c : golden["cases"].items) {
    const auto key = engram::canonical_key(c["text"].text);
    if (key.ok() && key.value() == c["key"].text) continue;
    ++failures;
    std::printf("FAILED: the key of '%s'\n", c["text"].text.c_str());
  }
  std::printf("%zu strings, %d failed\n", golden["cases"].items.size(), failures);
  return failures == 0 && !golden["cases"].items.empty() ? 0 : 1;
}
