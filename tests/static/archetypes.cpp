// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The poorest type that fits each concept: nothing that a concept does not name is needed to pass
// it, or to compose it with the rest of the library. No default constructor, no comparison, no
// more operations than the check functions list.
#include <engram/engram.hpp>

using namespace engram;

namespace bare {

struct BareCompressor {
  BareCompressor() = delete;
  Index vocab_size() const;
  Index canonical_size() const;
  CanonicalId operator()(Index token) const;
  const char* digest() const;
};
static_assert(check_token_compressor<BareCompressor>());

struct BareExtractor {
  BareExtractor() = delete;
  int max_ngram_size() const;
  NgramState initial_state() const;
  NgramWindow push(NgramState& state, CanonicalId id, Mark mark) const;
  BoundaryRule boundary_rule() const;
};
static_assert(check_ngram_extractor<BareExtractor>());

struct BareAddresser {
  static constexpr bool host_only = true;
  BareAddresser() = delete;
  int max_ngram_size() const;
  int num_layers() const;
  Index num_columns() const;
  Index num_rows(int layer) const;
  Index canonical_size() const;
  void address(int layer, const NgramWindow& window, RowId* out) const;
};
static_assert(check_addresser<BareAddresser>());

struct BareCodec {
  BareCodec() = delete;
  Index code_bytes(Index width) const;
  Index scale_bytes(Index width) const;
  float value(RowBytes row, Index d) const;
};
static_assert(check_row_codec<BareCodec>());

struct BareRef {
  BareRef() = delete;
  RowBytes operator()(Index row) const;
};
struct BareStore {
  using space_type = HostSpace;
  BareStore() = delete;
  BareStore(BareStore&&) = default;
  Index num_rows() const;
  Index row_bytes() const;
  Index scale_bytes() const;
  BareRef ref() const;
};
static_assert(check_addressable_store<BareStore>());

struct BareMutableRef {
  BareMutableRef() = delete;
  MutableRowBytes operator()(Index row) const;
};
struct BareMutableStore : BareStore {
  BareMutableRef mutable_ref();
};
static_assert(check_mutable_store<BareMutableStore>());

struct BareReader {
  BareReader() = delete;
  BareReader(BareReader&&) = default;
  Status submit(View<const RowId, 1> rows, View<std::byte, 1> bytes, Ticket& ticket);
  bool poll(Ticket& ticket);
  Status wait(Ticket& ticket);
};
struct BareFetchStore {
  BareFetchStore() = delete;
  BareFetchStore(const BareFetchStore&) = delete;
  Index num_rows() const;
  Index row_bytes() const;
  Index scale_bytes() const;
  BareReader reader() const;
};
static_assert(check_fetch_store<BareFetchStore>());

struct BareTable {
  BareTable() = delete;
  BareTable(const BareTable&) = delete;
  Index num_rows();
  Index row_width();
  Status gather(View<const std::int32_t, 2> rows, View<float, 2> out, CpuDevice device);
};
static_assert(RowTable<BareTable>);

struct BareProjection {
  using input_type = float;
  using output_type = Bf16;
  static constexpr bool batch_invariant = false;
  BareProjection() = delete;
  BareProjection(const BareProjection&) = delete;
  Index input_width() const;
  Index output_width() const;
  Index branches() const;
  Index tiles() const;
  void project(View<const float, 2> e, int segment, Index tile, View<Bf16, 2> out) const;
};
static_assert(check_projection<BareProjection>());

struct BareGate {
  BareGate() = delete;
  float operator()(float score) const;
};
static_assert(check_gate<BareGate>());

struct BareDevice {
  using space_type = HostSpace;
  BareDevice() = delete;
  template <class Body>
  void for_items(Index n, const Body& body) const {
    for (Index i = 0; i < n; ++i) body(HostLanes<16>(), i);
  }
  bool agree(bool yes) const;
  void wait() const;
};
static_assert(check_device<BareDevice>());

// What is not a model must not pass for one.
static_assert(!TokenCompressor<int>);
static_assert(!TokenCompressor<BareAddresser>);
static_assert(!NgramExtractor<BareCompressor>);
static_assert(!Addresser<BareExtractor>);
static_assert(!RowCodec<int> && !RowCodec<BareStore> && !RowCodec<BareGate>);
static_assert(!RowStore<BareCodec> && !AddressableStore<BareFetchStore> && !AddressableStore<int>);
static_assert(!MutableStore<BareStore> && !MutableStore<const BareMutableStore>);
static_assert(!FetchStore<BareStore> && !FetchStore<BareReader> && !StoreReader<BareFetchStore>);
static_assert(!RowTable<BareStore> && !RowTable<const BareTable> && !RowTable<int>);
static_assert(!Projection<BareTable> && !Projection<BareGate>);
static_assert(!Gate<int> && !Gate<BareDevice> && !Gate<float (*)(double, double)>);
static_assert(!Device<Barrier> && !Device<Share> && !Device<int>);
static_assert(Gate<float (*)(float)>);  // a pointer to a function is a gate

// Almost models: each lacks, or has otherwise, the one thing that it is named for.
struct DoubleCodec : BareCodec {
  double value(RowBytes row, Index d) const;
};
struct OwningCodec : BareCodec {
  OwningCodec(const OwningCodec&);
};
struct SpacelessStore {
  Index num_rows() const;
  Index row_bytes() const;
  Index scale_bytes() const;
  BareRef ref() const;
};
struct OwningRef : BareRef {
  OwningRef(const OwningRef&);
};
struct OwningRefStore : BareStore {
  OwningRef ref() const;
};
struct WritableRefStore : BareStore {
  BareMutableRef ref() const;
};
struct VoidReader : BareReader {
  void wait(Ticket& ticket);
};
struct VoidReaderStore : BareFetchStore {
  VoidReader reader() const;
};
struct MutableReaderStore : BareFetchStore {
  BareReader reader();
};
struct DoubleProjection : BareProjection {
  using output_type = double;
};
struct IntTilesProjection : BareProjection {
  int tiles() const;
};
struct MutableGate {
  float operator()(float score);
};
struct DoubleGate {
  double operator()(float score) const;
};
struct OwningDevice : BareDevice {
  OwningDevice(const OwningDevice&);
};
struct SilentDevice : BareDevice {
  void agree(bool yes) const;
};
static_assert(!RowCodec<DoubleCodec> && !RowCodec<OwningCodec>);
static_assert(!AddressableStore<SpacelessStore> && !AddressableStore<OwningRefStore> &&
              !AddressableStore<WritableRefStore>);
static_assert(!FetchStore<VoidReaderStore> && !FetchStore<MutableReaderStore>);
static_assert(!Projection<DoubleProjection> && !Projection<IntTilesProjection>);
static_assert(!Gate<MutableGate> && !Gate<DoubleGate>);
static_assert(!Device<OwningDevice> && !Device<SilentDevice>);

}  // namespace bare

// They compose, and every call of the composition compiles.
using BareFrontEnd = FrontEnd<bare::BareCompressor, bare::BareExtractor, bare::BareAddresser>;
template class engram::FrontEnd<bare::BareCompressor, bare::BareExtractor, bare::BareAddresser>;

Status use_bare_front_end(const BareFrontEnd& front, View<const std::int32_t, 1> tokens,
                          NgramState& state, View<std::int64_t, 3> rows,
                          View<const Index, 1> starts, View<NgramState, 1> states,
                          View<const std::int32_t, 1> parents);
Status use_bare_front_end(const BareFrontEnd& front, View<const std::int32_t, 1> tokens,
                          NgramState& state, View<std::int64_t, 3> rows,
                          View<const Index, 1> starts, View<NgramState, 1> states,
                          View<const std::int32_t, 1> parents) {
  if (const Status s = front.address(tokens, state, rows); !s.ok()) return s;
  if (const Status s = front.address_batch(tokens, starts, states, rows); !s.ok()) return s;
  if (const Status s = front.address_tree(tokens, parents, state, states, rows); !s.ok()) return s;
  return front.advance(tokens, state);
}

// The same for what holds and reads rows, and for the layer on top.
using BareRows = Table<bare::BareStore, bare::BareCodec>;
using BareFetch = FetchTable<bare::BareFetchStore, bare::BareCodec>;
static_assert(RowTable<BareRows> && RowTable<const BareRows> && RowTable<BareFetch>);
static_assert(RowTable<AnyTable> && RowTable<const AnyTable>);
static_assert(!RowTable<const BareFetch>);  // it has a reader, which is one thread's

template <class TableType, class Dev>
Status use_bare_layer(TableType& table, const bare::BareProjection& projection,
                      const bare::BareGate& gate, View<float, 2> e, View<Bf16, 3> keys,
                      View<Bf16, 2> value, View<F16, 3> stream, View<std::byte, 1> workspace,
                      View<const std::int32_t, 2> rows, const Dev& device) {
  const EngramLayer layer(table, projection, FusionWeights(), FusionConfig(), gate);
  if (const auto checked = layer.check(); !checked.ok()) return checked.status();
  if (const Status s = layer.gather(rows, e, device); !s.ok()) return s;
  if (const Status s = layer.project(e, keys, value, device); !s.ok()) return s;
  if (const Status s = layer.fuse(keys, value, stream, stream, workspace, {}, device); !s.ok())
    return s;
  return layer.forward(rows, View<const F16, 3>(stream), stream, workspace, {}, device);
}

Status use_bare_tables(bare::BareStore store, const bare::BareFetchStore& slow,
                       const bare::BareCodec& codec, bare::BareTable& other,
                       const bare::BareProjection& projection, const bare::BareGate& gate,
                       const bare::BareDevice& device, View<std::byte, 1> memory);
Status use_bare_tables(bare::BareStore store, const bare::BareFetchStore& slow,
                       const bare::BareCodec& codec, bare::BareTable& other,
                       const bare::BareProjection& projection, const bare::BareGate& gate,
                       const bare::BareDevice& device, View<std::byte, 1> memory) {
  auto made = BareRows::make(std::move(store), codec, 8);
  if (!made.ok()) return made.status();
  const BareRows rows = std::move(made).value();
  auto fetching = BareFetch::make(slow, codec, 8, memory);
  if (!fetching.ok()) return fetching.status();
  BareFetch fetch = std::move(fetching).value();
  const auto use = [&](auto& table, const auto& on) {
    return use_bare_layer(table, projection, gate, {}, {}, {}, {}, memory, {}, on);
  };
  if (const Status s = use(rows, device); !s.ok()) return s;
  if (const Status s = use(rows, CpuDevice()); !s.ok()) return s;
  if (const Status s = use(fetch, CpuDevice()); !s.ok()) return s;
  if (const Status s = use(other, CpuDevice()); !s.ok()) return s;
  const AnyTable any(std::move(fetch));
  return use(any, CpuDevice());
}
