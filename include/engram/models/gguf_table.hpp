// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A table of a GGUF, read in place. Which codec it takes is known only when the file is, so it is a
// table of whatever type.

#include <engram/codec/fp8.hpp>
#include <engram/codec/ggml_blocks.hpp>
#include <engram/codec/plain.hpp>
#include <engram/models/gguf_engram.hpp>
#include <engram/storage/any_table.hpp>
#include <engram/storage/mmap_store.hpp>

ENGRAM_BEGIN_NAMESPACE

/// The table at place `layer` of `model.tables`, mapped. The file must keep its length meanwhile.
///
/// Fails as MmapStore::open().
inline Result<AnyTable> open_gguf_table(const GgufEngram& model, std::size_t layer) {
  const GgufEngramTable& table = model.tables[layer];
  Result<MmapStore> store = MmapStore::open({table.segment});
  if (!store.ok()) return store.failure();
  const auto with = [&](auto codec) -> Result<AnyTable> {
    auto made = Table<MmapStore, decltype(codec)>::make(
        std::move(store.value()), codec, model.row_width, layout_digest(model.layout));
    if (!made.ok()) return made.failure();
    return AnyTable(std::move(made).value());
  };
  if (model.dialect == GgufDialect::a) return with(Fp8Codec());
  switch (table.type) {
    case GgmlType::f32:
      return with(F32Codec());
    case GgmlType::f16:
      return with(F16Codec());
    case GgmlType::bf16:
      return with(Bf16Codec());
    case GgmlType::q8_0:
      return with(Q8_0Codec());
    case GgmlType::q2_k:
      return with(Q2_KCodec());
    case GgmlType::q3_k:
      return with(Q3_KCodec());
    case GgmlType::q4_k:
      return with(Q4_KCodec());
    case GgmlType::q6_k:
      return with(Q6_KCodec());
    case GgmlType::i8:
      break;
  }
  return fail(Code::unsupported, {table.name, ": table type ", to_string(table.type)});
}

ENGRAM_END_NAMESPACE
