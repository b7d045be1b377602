// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The front end on the GPU: token ids and states that are there already become row ids without the
// host, for engines whose sampled tokens never leave the GPU, and inside of a captured graph.

#include <engram/cuda/address_tile.hpp>
#include <engram/cuda/cuda_device.cuh>
#include <engram/cuda/device_memory.hpp>
#include <engram/layer/front_end.hpp>

#include <algorithm>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

template <class Body>
ENGRAM_HIDDEN __global__ void __launch_bounds__(threads_of_a_block) address_tiles(Body body) {
  __shared__ AddressTile shared;
  const Index step = Index{gridDim.x} * AddressTile::tokens;
  for (Index begin = Index{blockIdx.x} * AddressTile::tokens; begin < body.rows.extent(0);
       begin += step)
    address_tile(HardwareBlock(), shared, body, begin);
}

/// The tables of a FrontEnd in the GPU's memory. Moves, is not copied; const calls may run at the
/// same time on different streams.
///
/// Arguments that several calls share, all in memory of the GPU:
///   tokens  [T] int32 or int64.
///   marks   [T] or empty.
///   rows    [T, L, H] int32 or int64, token and layer strides free.
/// Status of a call: shape_mismatch, too_narrow, invalid_config (overlap); then nothing was
/// launched. device.wait() says bad_token, bad_mark, bad_parent (index: the position) and
/// bad_sequence (index: the entry) of what is wrong first; a token without a canonical id has rows
/// -1, and n-grams do not reach over it. States are not checked, as FrontEnd checks them.
/// The rows are those of FrontEnd, bit for bit. No allocation, can be captured.
template <class Mix, class Boundary>
class DeviceFrontEnd {
 public:
  /// See make_device_front_end().
  template <class Compressor>
  static Result<DeviceFrontEnd> make(
      const FrontEnd<Compressor, SuffixNgrams<Boundary>, ModularHash<Mix>>& front);

  /// One sequence, or the next chunk of one, as FrontEnd::address().
  ///
  /// state  [1] moved on.
  template <class Token, class Row>
  ENGRAM_HIDDEN Status address(const CudaDevice& device, DeviceView<Token, 1> tokens,
                               DeviceView<NgramState, 1> state, DeviceView<Row, 3> rows,
                               DeviceView<const Mark, 1> marks = {}) const noexcept {
    return run(device, DeviceView<const std::remove_const_t<Token>, 1>(tokens),
               SequenceStarts<std::int32_t>(), 1, state, rows, marks);
  }

  /// Sequences one behind the other, as FrontEnd::address_batch().
  ///
  /// starts  [S + 1] int32 or int64, ascending from 0.
  /// states  [S] moved on.
  template <class Token, class Start, class Row>
  ENGRAM_HIDDEN Status address_batch(const CudaDevice& device, DeviceView<Token, 1> tokens,
                                     DeviceView<Start, 1> starts, DeviceView<NgramState, 1> states,
                                     DeviceView<Row, 3> rows,
                                     DeviceView<const Mark, 1> marks = {}) const noexcept {
    if (starts.extent(0) < 2) return {Code::shape_mismatch, 0, 2};
    return run(device, DeviceView<const std::remove_const_t<Token>, 1>(tokens),
               SequenceStarts<std::remove_const_t<Start>>{starts.for_body()}, starts.extent(0) - 1,
               states, rows, marks);
  }

  /// A draft tree, as FrontEnd::address_tree(), but for `root`, which must not lie in node_states.
  ///
  /// parents      [T] int32 or int64, an earlier token, or -1: follows `root`.
  /// root         [1] unchanged.
  /// node_states  [T] written: the state behind each token.
  template <class Token, class Parent, class Row>
  ENGRAM_HIDDEN Status address_tree(const CudaDevice& device, DeviceView<Token, 1> tokens,
                                    DeviceView<Parent, 1> parents,
                                    DeviceView<const NgramState, 1> root,
                                    DeviceView<NgramState, 1> node_states, DeviceView<Row, 3> rows,
                                    DeviceView<const Mark, 1> marks = {}) const noexcept {
    using Id = std::remove_const_t<Token>;
    using Above = std::remove_const_t<Parent>;
    const DeviceView<const Id, 1> ids = tokens;
    if (Status s = check(ids, marks, rows); !s.ok()) return s;
    const Index count = tokens.extent(0);
    if (parents.extent(0) != count || node_states.extent(0) != count)
      return {Code::shape_mismatch, 0, count};
    if (root.extent(0) != 1) return {Code::shape_mismatch, 0, 1};
    if (root.data() + 1 > node_states.data() && root.data() < node_states.data() + count)
      return {Code::invalid_config};
    device.for_items(count,
                     AddressTreeBody<Mix, Boundary, Id, Above, Row, ErrorWord>{
                         reader_of(ids, marks), parents.for_body(), root.for_body(),
                         node_states.for_body(), tables_, rows.for_body(), device.error_word()});
    return {};
  }

  NgramState initial_state() const noexcept { return extractor_.initial_state(); }

 private:
  explicit DeviceFrontEnd(SuffixNgrams<Boundary> extractor) : extractor_(extractor) {}

  template <class Token, class Start, class Row>
  ENGRAM_HIDDEN Status run(const CudaDevice& device, DeviceView<const Token, 1> tokens,
                           const SequenceStarts<Start>& in, Index sequences,
                           DeviceView<NgramState, 1> states, DeviceView<Row, 3> rows,
                           DeviceView<const Mark, 1> marks) const noexcept {
    if (Status s = check(tokens, marks, rows); !s.ok()) return s;
    if (states.extent(0) != sequences) return {Code::shape_mismatch, 0, sequences};
    const TokenReader<Boundary, Token> reader = reader_of(tokens, marks);
    using Body = AddressBody<Mix, Boundary, Token, Start, Row, ErrorWord>;
    device.launch(
        tokens.extent(0), AddressTile::tokens, address_tiles<Body>,
        Body{reader, in, states.for_body(), tables_, rows.for_body(), device.error_word()});
    device.for_items(sequences, StateBody<Boundary, Token, Start, ErrorWord>{
                                    reader, in, states.for_body(), device.error_word()});
    return {};
  }

  template <class Token, class Row>
  Status check(DeviceView<const Token, 1> tokens, DeviceView<const Mark, 1> marks,
               DeviceView<Row, 3> rows) const noexcept {
    const Index count = tokens.extent(0);
    if (marks.size() != 0 && marks.extent(0) != count) return {Code::shape_mismatch, 0, count};
    const Index expected[3] = {count, tables_.layers, tables_.columns};
    for (int r = 0; r < 3; ++r)
      if (rows.extent(r) != expected[r]) return {Code::shape_mismatch, 0, expected[r]};
    if (sizeof(Row) == 4 && last_row_ > INT32_MAX) return {Code::too_narrow, 0, last_row_};
    return {};
  }
  template <class Token>
  TokenReader<Boundary, Token> reader_of(DeviceView<const Token, 1> tokens,
                                         DeviceView<const Mark, 1> marks) const noexcept {
    return {tokens.for_body(), marks.for_body(), canonical_, vocab_size_, extractor_};
  }

  SuffixNgrams<Boundary> extractor_;
  DeviceMemory memory_;
  HashTables tables_;
  View<const std::int32_t, 1> canonical_;
  Index vocab_size_ = 0;
  Index last_row_ = 0;
};

template <class Mix, class Boundary>
template <class Compressor>
Result<DeviceFrontEnd<Mix, Boundary>> DeviceFrontEnd<Mix, Boundary>::make(
    const FrontEnd<Compressor, SuffixNgrams<Boundary>, ModularHash<Mix>>& front) {
  // All tables in one piece of memory: numbers of 64 bits first.
  const Index columns = front.num_columns();
  std::vector<std::uint64_t> multipliers, divisors, inverses, offsets;
  DeviceFrontEnd made(front.extractor());
  for (int l = 0; l < front.num_layers(); ++l) {
    const ModularHashRef hash = front.addresser().ref(l);
    multipliers.insert(multipliers.end(), hash.multipliers, hash.multipliers + max_order);
    divisors.insert(divisors.end(), hash.divisors, hash.divisors + columns);
    inverses.insert(inverses.end(), hash.inverses, hash.inverses + columns);
    for (Index c = 0; c < columns; ++c)
      offsets.push_back(static_cast<std::uint64_t>(hash.offsets[c]));
    made.tables_.salt = hash.salt;
    made.tables_.pad = hash.pad;
    made.tables_.heads = hash.heads;
    made.last_row_ = std::max(made.last_row_, front.num_rows(l) - 1);
  }
  made.tables_.layers = front.num_layers();
  made.tables_.columns = static_cast<std::int32_t>(columns);
  made.vocab_size_ = front.compressor().vocab_size();
  std::vector<std::int32_t> canonical;
  for (Index token = 0; token < made.vocab_size_; ++token)
    canonical.push_back(to_integer(front.compressor()(token)));

  std::vector<std::byte> all;
  const auto append = [&all](const auto& list) {
    const auto* const bytes = reinterpret_cast<const std::byte*>(list.data());
    all.insert(all.end(), bytes, bytes + list.size() * sizeof list[0]);
  };
  for (const auto* list : {&multipliers, &divisors, &inverses, &offsets}) append(*list);
  append(canonical);
  Result<DeviceMemory> memory = DeviceMemory::make(static_cast<Index>(all.size()));
  if (!memory.ok()) return memory.failure();
  made.memory_ = std::move(memory.value());
  const cudaError_t error = finish_on_legacy_stream(
      cudaMemcpy(made.memory_.data(), all.data(), all.size(), cudaMemcpyHostToDevice));
  if (error != cudaSuccess) return cuda_failure("device front end", error);
  const auto* const at = reinterpret_cast<const std::uint64_t*>(made.memory_.data());
  const std::size_t heads = divisors.size();
  made.tables_.multipliers = at;
  made.tables_.divisors = at + multipliers.size();
  made.tables_.inverses = made.tables_.divisors + heads;
  made.tables_.offsets = reinterpret_cast<const Index*>(made.tables_.inverses + heads);
  made.canonical_ = View<const std::int32_t, 1>(
      reinterpret_cast<const std::int32_t*>(made.tables_.offsets + heads), made.vocab_size_);
  return DeviceFrontEnd(std::move(made));
}

/// A front end's tables on the current GPU. Any compressor, whose ids become an array there.
///
/// Fails as DeviceMemory::make().
template <class Compressor, class Boundary, class Addressing>
auto make_device_front_end(const FrontEnd<Compressor, SuffixNgrams<Boundary>, Addressing>& front) {
  static_assert(!Addressing::host_only,
                "engram: this Addresser runs on the host only; a GPU has MultiplicativeXor and "
                "Polynomial");
  return DeviceFrontEnd<typename Addressing::mix_type, Boundary>::make(front);
}

ENGRAM_END_NAMESPACE
