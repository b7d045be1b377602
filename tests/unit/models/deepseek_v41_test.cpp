// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// What a checkpoint directory must not be: every contradiction between its files is refused, and
// the sentence names the file, the tensor or key, what was found and what was expected.

#include "../../golden/miniature_checkpoint.hpp"
#include "catch.hpp"
#include "contains.hpp"
#include "scratch.hpp"

#include <engram/models/deepseek_v41.hpp>

using namespace engram;

namespace {

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

/// Opens the checkpoint and expects that code and all of the words in its sentence.
void check_refused(const MiniatureCheckpoint& checkpoint, Code code,
                   std::initializer_list<const char*> words) {
  const std::filesystem::path folder = scratch_path("v41_refused");
  const auto opened = open_deepseek_v41(
      checkpoint.write(folder.parent_path().string(), folder.filename().string()));
  INFO(opened.message());
  CHECK(opened.status().code == code);
  for (const char* word : words) {
    INFO(word);
    CHECK(contains(opened.message(), word));
  }
}

void check_config_refused(const std::string& from, const std::string& to,
                          std::initializer_list<const char*> words, Code code = Code::corrupt) {
  MiniatureCheckpoint checkpoint;
  checkpoint.files["config.json"] = replaced(checkpoint.files["config.json"], from, to);
  check_refused(checkpoint, code, words);
}

}  // namespace

TEST_CASE("config.json: keys that are missing, twice or of another type are refused by name") {
  check_config_refused("\"hc_mult\": 4,", "", {"config.json", "hc_mult is missing"});
  check_config_refused("\"hidden_size\": 64,", "", {"hidden_size or dim is missing"});
  check_config_refused("\"hidden_size\": 64", "\"hidden_size\": 64, \"dim\": 64",
                       {"more than one of hidden_size or dim"});
  check_config_refused("\"hc_mult\": 4", "\"hc_mult\": 4, \"hc_mult\": 4",
                       {"more than one of hc_mult"});
  check_config_refused("\"hc_mult\": 4", "\"hc_mult\": \"4\"",
                       {"hc_mult is a string, expected an integer from 1 to 64"});
  check_config_refused("\"engram_n_heads\": 2", "\"engram_n_heads\": 0",
                       {"engram_n_heads is 0, expected an integer from 1 to 256"});
  check_config_refused("[1, 14]", "[1, 14.5]", {"engram_layer_ids has a number with fraction"});
  check_config_refused("[1, 14]", "14", {"engram_layer_ids is an integer, expected a list"});
  check_config_refused("[1, 14]", "[1]", {"engram_num_embeddings has 2 entries, expected 1"});
  check_config_refused("[1, 14]", "[1, 1]", {"layer id stands twice"}, Code::invalid_config);
  check_config_refused("1e-20", "-1", {"rms_norm_eps is -1", "expected a number from 0 to 1"});
  check_config_refused("\"engram_head_dim\": 64", "\"engram_head_dim\": 48",
                       {"engram_head_dim is 48", "multiples of 32"});
  check_config_refused("\"text_config\": {", "\"text_config\": {},\"text_config\": {",
                       {"text_config occurs twice"});
  check_config_refused("{\"model_type\"", "[{\"model_type\"", {"not JSON"});
}

TEST_CASE("a map, a row count or a pad that is not the configured model's is refused") {
  check_config_refused("[184, 258]", "[184, 257]",
                       {"engram_num_embeddings of layer 14 is 257", "expected", "258"},
                       Code::mismatch);
  check_config_refused("\"engram_compressed_vocab_size\": 50",
                       "\"engram_compressed_vocab_size\": 49",
                       {"tokenizer.json", "compressed size is 50, expected 49"}, Code::mismatch);
  check_config_refused("\"vocab_size\": 50,\n", "\"vocab_size\": 49,\n",
                       {"50 tokens, expected at most vocab_size, 49"}, Code::mismatch);
  check_config_refused("\"engram_pad_token_id\": 2", "\"engram_pad_token_id\": 50",
                       {"50 is not a token id below 50"}, Code::bad_token);

  MiniatureCheckpoint merged;  // "A" and "a" share a canonical id
  merged.files["tokenizer.json"] = replaced(merged.files["tokenizer.json"], "\"b\":1", "\"A\":1");
  check_refused(merged, Code::mismatch, {"compressed size is 49, expected 50"});
}

TEST_CASE("of the released geometry only the released map is taken") {
  MiniatureCheckpoint checkpoint;
  std::string& config = checkpoint.files["config.json"];
  config = replaced(config, "\"engram_vocab_size\": 40", "\"engram_vocab_size\": 16000000");
  config = replaced(config, "\"engram_max_ngram_size\": 3", "\"engram_max_ngram_size\": 4");
  config = replaced(config, "\"engram_compressed_vocab_size\": 50",
                    "\"engram_compressed_vocab_size\": 99092");
  check_refused(checkpoint, Code::mismatch, {"tokenizer.json", "expected 99092"});
}

TEST_CASE("tensors: missing, extra, of another type or shape are refused with both said") {
  const std::string at = "layers.14.engram.";
  MiniatureCheckpoint missing;
  missing.shards[1].erase(at + "wkv.scale");
  check_refused(missing, Code::mismatch, {"\"layers.14.engram.wkv.scale\" is missing"});

  MiniatureCheckpoint extra;
  extra.shards[1]["layers.14.engram.q_norm.weight"] = extra.shards[1][at + "q_weight"];
  check_refused(extra, Code::unsupported,
                {"layers.14.engram.q_norm.weight", "layers.1.engram.embed.weight"});

  MiniatureCheckpoint other_layer;
  other_layer.shards[1]["layers.20.engram.q_weight"] = other_layer.shards[1][at + "q_weight"];
  check_refused(other_layer, Code::unsupported, {"layers.20.engram.q_weight"});

  MiniatureCheckpoint typed;
  typed.shards[1][at + "q_weight"].dtype = DType::f16;
  check_refused(typed, Code::mismatch,
                {"layers.14.engram.q_weight", "F16 [4, 64]", "expected BF16 [4, 64]", "00002-of"});

  // The projection's tile scales in place of the table's row scales.
  MiniatureCheckpoint swapped;
  swapped.shards[1][at + "embed.scale"] = swapped.shards[1][at + "wkv.scale"];
  check_refused(swapped, Code::mismatch,
                {"layers.14.engram.embed.scale", "F8_E8M0 [10, 8]", "expected F8_E8M0 [258, 2]"});

  MiniatureCheckpoint rows;
  rows.shards[0]["layers.1.engram.embed.weight"].shape[0] = 183;
  rows.shards[0]["layers.1.engram.embed.weight"].bytes.resize(183 * 64);
  check_refused(rows, Code::mismatch,
                {"layers.1.engram.embed.weight", "[183, 64]", "expected F8_E4M3 [184, 64]"});
}

TEST_CASE("files of a checkpoint that are missing are named") {
  const MiniatureCheckpoint checkpoint;
  for (const char* file : {"config.json", "tokenizer.json", "model-00002-of-00002.safetensors"}) {
    const std::string folder = checkpoint.write(ENGRAM_SCRATCH_DIR, "v41_missing");
    std::filesystem::remove(folder + "/" + file);
    const auto opened = open_deepseek_v41(folder);
    INFO(opened.message());
    CHECK(opened.status().code == Code::io);
    CHECK(contains(opened.message(), file));
  }
  CHECK(open_deepseek_v41(std::string(ENGRAM_SCRATCH_DIR) + "/no-such-model").status().code ==
        Code::io);
}

TEST_CASE("both layers work, from any number of threads, and a layer that moves still works") {
  auto opened = open_deepseek_v41(MiniatureCheckpoint().write(ENGRAM_SCRATCH_DIR, "v41_both"));
  REQUIRE(opened.ok());
  DeepseekV41 model = std::move(opened).value();
  const std::vector<int> ids = {3, 1, 4, 1, 5};
  std::vector<int> rows(5 * 2 * 4);
  const View<int, 3> view(rows.data(), 5, 2, 4);
  NgramState state = model.front_end.initial_state();
  REQUIRE(model.front_end.address(ids, state, view).ok());
  const auto run = [&](const DeepseekV41& m) {
    std::vector<Bf16> stream(5 * 4 * 64, to_bf16(0.5f));
    const View<Bf16, 3> x(stream.data(), 5, 4, 64);
    for (std::size_t l = 0; l < 2; ++l) {
      const auto layer = m.layers[l].layer();
      std::vector<std::byte> workspace(static_cast<std::size_t>(layer.workspace_bytes(5)));
      REQUIRE(layer.forward(view.at<1>(static_cast<Index>(l)), x, x, workspace).ok());
    }
    return stream;
  };
  const std::vector<Bf16> before = run(model);
  CHECK_FALSE(before == std::vector<Bf16>(before.size(), to_bf16(0.5f)));
  const DeepseekV41 moved = std::move(model);
  CHECK(run(moved) == before);
}
