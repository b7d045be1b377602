// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "commands.hpp"
#include "geometry.hpp"

#include <engram/addressing/layout_bytes.hpp>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

namespace engram::cli {

namespace {

nlohmann::ordered_json describe_layer(const Layout& layout, const LayerLayout& layer) {
  nlohmann::ordered_json multipliers = nlohmann::ordered_json::array();
  for (const std::uint64_t m : layer.multipliers) multipliers.push_back(std::to_string(m));
  nlohmann::ordered_json primes = nlohmann::ordered_json::array();
  const auto heads = static_cast<std::size_t>(layout.heads);
  for (std::size_t c = 0; c < layer.moduli.size(); ++c) {
    if (c % heads == 0) primes.push_back(nlohmann::ordered_json::array());
    primes.back().push_back(layer.moduli[c]);
  }
  return {{"layer_id", layer.layer_id},
          {"multipliers", multipliers},
          {"primes", primes},
          {"offsets", layer.offsets},
          {"rows", layer.rows}};
}

}  // namespace

Command add_layout(CLI::App& program) {
  CLI::App* app = program.add_subcommand("layout", "print the constants that decide every address");
  const auto options = std::make_shared<GeometryOptions>(*app);
  return {app, [options]() -> Result<void> {
            const Result<Geometry> geometry = options->resolve(std::nullopt);
            if (!geometry.ok()) return geometry.failure();
            const Layout& layout = geometry.value().layout;
            nlohmann::ordered_json layers = nlohmann::ordered_json::array();
            for (const LayerLayout& layer : layout.layers)
              layers.push_back(describe_layer(layout, layer));
            const nlohmann::ordered_json printed = {{"max_ngram", layout.max_ngram_size},
                                                    {"heads", layout.heads},
                                                    {"compressed_vocab", layout.canonical_size},
                                                    {"pad", layout.pad},
                                                    {"seed", geometry.value().seed},
                                                    {"layers", layers},
                                                    {"digest", layout_digest(layout)}};
            std::cout << printed << '\n';
            return {};
          }};
}

}  // namespace engram::cli
