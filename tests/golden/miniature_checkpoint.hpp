// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Writes the checkpoint whose module module_vectors.json describes: the real file and tensor names
// of DeepSeek-V4.1 at a few kilobytes. Its tokenizer has 50 tokens that no normalisation merges, so
// that token ids are canonical ids.

#include "filler.hpp"

#include <engram/core/scalar.hpp>
#include <engram/io/file.hpp>
#include <engram/io/safetensors_writer.hpp>

#include <filesystem>
#include <map>

/// The text files of the checkpoint, and its tensors, to be changed before writing.
struct MiniatureCheckpoint {
  struct Tensor {
    engram::DType dtype;
    std::vector<engram::Index> shape;
    std::vector<std::uint8_t> bytes;
  };
  std::map<std::string, std::string> files;
  std::map<std::string, Tensor> shards[2];

  static constexpr engram::Index rows[2] = {184, 258};

  explicit MiniatureCheckpoint(const std::string& tag = "fixture2113", bool nested = true) {
    const std::string engram_keys =
        R"("engram_layer_ids": [1, 14], "engram_num_embeddings": [184, 258],
           "engram_max_ngram_size": 3, "engram_vocab_size": 40, "engram_n_heads": 2,
           "engram_head_dim": 64, "engram_compressed_vocab_size": 50, "vocab_size": 50,
           "hc_mult": 4, )";
    files["config.json"] =
        nested ? "{\"model_type\": \"deepseek_v41\", \"text_config\": {" + engram_keys +
                     R"("engram_pad_token_id": 2, "hidden_size": 64, "rms_norm_eps": 1e-20}})"
               : "{" + engram_keys + R"("engram_pad_id": 2, "dim": 64, "norm_eps": 1e-20})";
    std::string vocab;
    for (int i = 0; i < 50; ++i) {
      const char c = i == 49 ? ':'
                             : static_cast<char>(i < 26   ? 'a' + i
                                                 : i < 36 ? '0' + i - 26
                                                          : '#' + i - 36);
      vocab += (i > 0 ? "," : "") + (std::string("\"") + c + "\":" + std::to_string(i));
    }
    files["tokenizer.json"] =
        R"({"model": {"type": "BPE", "vocab": {)" + vocab +
        R"(}, "merges": []}, "decoder": {"type": "ByteLevel"}, "added_tokens": []})";
    for (int l = 0; l < 2; ++l) {
      const std::string at = "layers." + std::to_string(l == 0 ? 1 : 14) + ".engram.";
      auto& shard = shards[l];
      shard[at + "embed.weight"] = codes(tag + "/embed.weight", rows[l], 64);
      shard[at + "embed.scale"] = scales(tag + "/embed.scale", rows[l], 2, 127);
      shard[at + "wkv.weight"] = codes(tag + "/wkv.weight", 320, 256);
      shard[at + "wkv.scale"] = scales(tag + "/wkv.scale", 10, 8, 126);
      shard[at + "q_weight"] = gains(tag + "/q_weight");
      shard[at + "k_weight"] = gains(tag + "/k_weight");
    }
  }

  /// Writes it into a new directory of that name below `parent`; returns its path.
  std::string write(const std::string& parent, const std::string& name) const {
    const std::string folder = parent + "/" + name;
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    for (const auto& [file, text] : files)
      engram::write_file(folder + "/" + file, engram::as_bytes(text)).value();
    std::string weight_map;
    for (int s = 0; s < 2; ++s) {
      const std::string shard = "model-0000" + std::to_string(s + 1) + "-of-00002.safetensors";
      std::vector<engram::TensorToWrite> tensors;
      for (const auto& [tensor, content] : shards[s]) {
        tensors.push_back({tensor, content.dtype, content.shape,
                           engram::Bytes(reinterpret_cast<const std::byte*>(content.bytes.data()),
                                         static_cast<engram::Index>(content.bytes.size()))});
        weight_map += (weight_map.empty() ? "\"" : ", \"") + tensor + "\": \"" + shard + "\"";
      }
      engram::write_safetensors(folder + "/" + shard, tensors).value();
    }
    const std::string index = "{\"metadata\": {}, \"weight_map\": {" + weight_map + "}}";
    engram::write_file(folder + "/model.safetensors.index.json", engram::as_bytes(index)).value();
    return folder;
  }

 private:
  using Index = engram::Index;
  static Tensor codes(const std::string& stream, Index rows_, Index columns) {
    Tensor t{engram::DType::f8_e4m3, {rows_, columns}, {}};
    for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(rows_ * columns); ++i) {
      const std::uint64_t r = filler_word(stream, i);
      t.bytes.push_back(
          static_cast<std::uint8_t>((r & 1) << 7 | (6 + (r >> 1) % 3) << 3 | ((r >> 8) & 7)));
    }
    return t;
  }
  static Tensor scales(const std::string& stream, Index rows_, Index columns, std::uint64_t least) {
    Tensor t{engram::DType::f8_e8m0, {rows_, columns}, {}};
    for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(rows_ * columns); ++i)
      t.bytes.push_back(static_cast<std::uint8_t>(least + filler_word(stream, i) % 2));
    return t;
  }
  static Tensor gains(const std::string& stream) {
    Tensor t{engram::DType::bf16, {4, 64}, {}};
    for (std::uint64_t i = 0; i < 4 * 64; ++i) {
      const auto bits =
          engram::to_bf16(static_cast<float>(1 + (2 * filler_uniform(stream, i) - 1) / 4)).bits;
      t.bytes.push_back(static_cast<std::uint8_t>(bits));
      t.bytes.push_back(static_cast<std::uint8_t>(bits >> 8));
    }
    return t;
  }
};
