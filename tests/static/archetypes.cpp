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

// What is not a model must not pass for one.
static_assert(!TokenCompressor<int>);
static_assert(!TokenCompressor<BareAddresser>);
static_assert(!NgramExtractor<BareCompressor>);
static_assert(!Addresser<BareExtractor>);

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
