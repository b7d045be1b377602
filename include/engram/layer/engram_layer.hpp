// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The memory of one transformer block: row ids in, hidden state out. Rows are gathered and
// projected to keys and a value, the gate weighs the value for each branch, and the result is added
// to the residual stream. Each step can be called alone, for an engine that has its own matrix
// product.

#include <engram/core/workspace.hpp>
#include <engram/gating/short_conv.hpp>
#include <engram/layer/projection.hpp>
#include <engram/storage/table.hpp>

ENGRAM_BEGIN_NAMESPACE

/// A table, a projection and a gate, composed. Holds pointers to the first two and views of the
/// weights, owns nothing; const calls may run concurrently.
///
/// Arguments that several calls share:
///   rows       [T, H] int32 or int64, H * row width = M: a layer's slice of the front end's rows,
///              or ids from anywhere. A token whose rows are all -1 passes through.
///   hidden     [T, G, D] float, Bf16 or F16, token and branch strides free.
///   out        [T, G, D] of the same type; may be `hidden` itself, else must not overlap it.
///   workspace  workspace_bytes(T, S) bytes, any alignment, contents irrelevant.
///   device     all of the work on the calling thread; or share i of n: then n threads make the
///              same call, each with its share, one barrier and the same workspace.
/// Memory that the host reaches. Every call checks its arguments first: on any status but ok and io
/// nothing has been written.
///   shape_mismatch   extents disagree (index: the extent expected)
///   bad_row          (index: place in [T * H])
///   bad_mark, bad_sequence as in FrontEnd
///   workspace_small  (index: bytes needed)
///   invalid_config   the parts do not fit together; check() has the sentence
///   io               a table's file failed while it was read; `out` and the state are unchanged
///                    for the tokens of the block of token_tile being read and those behind it
/// NaN in a token's hidden state makes that branch of that token NaN and nothing else (with a
/// convolution also what its taps reach).
template <class RowTableType, class ProjectionType, class GateType>
class EngramLayer {
  static_assert(check_projection<ProjectionType>());
  static_assert(check_gate<GateType>());
  static_assert(RowTable<RowTableType>,
                "engram: a layer's table needs num_rows(), row_width() and gather(rows, out, "
                "device): a Table, a FetchTable or an AnyTable");
  using In = typename ProjectionType::input_type;
  using Out = typename ProjectionType::output_type;

 public:
  /// Tokens that forward takes at a time, so that a long prompt needs no more memory than this.
  static constexpr Index token_tile = 512;

  EngramLayer(RowTableType& table, const ProjectionType& projection, const FusionWeights& weights,
              const FusionConfig& config, GateType gate = {}) noexcept
      : table_(&table), projection_(&projection), weights_(weights), config_(config), gate_(gate) {}

  Index branches() const noexcept { return projection_->branches(); }
  Index width() const noexcept { return projection_->output_width(); }
  /// H, rows a token reads.
  Index columns() const noexcept { return projection_->input_width() / table_->row_width(); }
  /// Floats of one sequence's convolution state; 0 without a convolution.
  Index conv_state_size() const noexcept {
    return engram::conv_state_size(weights_.conv.extent(0), config_.dilation, branches(), width());
  }

  /// ok, or invalid_config and why table, projection and weights do not fit together.
  ENGRAM_ALWAYS_INLINE Result<void> check() const {
    if (const std::string fault = parts_fault(); !fault.empty())
      return fail(Code::invalid_config, {"layer: ", fault});
    return {};
  }

  /// Bytes of workspace for calls of up to `tokens` tokens in `sequences` sequences.
  Index workspace_bytes(Index tokens, Index sequences = 1) const noexcept {
    const Index tile = tokens < token_tile ? tokens : token_tile;
    return fuse_workspace_bytes(tile, sequences) +
           bytes_for<In>(tile * projection_->input_width()) +
           bytes_for<Out>(tile * segments_at_once(tile) * width());
  }
  /// The same for fuse alone.
  Index fuse_workspace_bytes(Index tokens, Index sequences = 1) const noexcept {
    return bytes_for<Part>(tokens) + 2 * bytes_for<float>(tokens * branches()) +
           3 * bytes_for<Index>(tokens) + 2 * bytes_for<Index>(sequences + 1);
  }

  /// Rows to elements: e [T, M] in the type that the projection takes.
  template <class Row, class RowSpace, class Dev = CpuDevice>
  ENGRAM_ALWAYS_INLINE Status gather(View<Row, 2, RowSpace> rows, View<In, 2> e,
                                     const Dev& device = {}) const noexcept {
    return table_->gather(View<const std::remove_const_t<Row>, 2>(on_host(rows)), e, device);
  }

  /// Elements to keys [T, G, D] and value [T, D]. Rewrites e where the projection quantises its
  /// inputs.
  template <class Dev = CpuDevice>
  ENGRAM_ALWAYS_INLINE Status project(View<In, 2> e, View<Out, 3> keys, View<Out, 2> value,
                                      const Dev& device = {}) const noexcept {
    const Index tokens = e.extent(0);
    if (e.extent(1) != projection_->input_width())
      return {Code::shape_mismatch, 0, projection_->input_width()};
    if (Status s = check_keys(keys, value, tokens); !s.ok()) return s;
    prepare(e, device);
    const Index tiles = projection_->tiles();
    device.for_items(tiles * (branches() + 1), [&](const auto&, Index item) {
      const Index segment = item / tiles;
      projection_->project(e, static_cast<int>(segment), item % tiles,
                           segment < branches() ? keys.template at<1>(segment) : value);
    });
    device.wait();
    return {};
  }

  /// Keys and value to the new hidden state. keys [T, G, D], value [T, D]: float, Bf16 or F16,
  /// strides free.
  template <class Key, class Value, class Hidden, class Result_, class Dev = CpuDevice>
  ENGRAM_ALWAYS_INLINE Status fuse(View<Key, 3> keys, View<Value, 2> value, View<Hidden, 3> hidden,
                                   View<Result_, 3> out, View<std::byte, 1> workspace,
                                   const FusionOptions& options = {},
                                   const Dev& device = {}) const noexcept {
    using H = std::remove_const_t<Hidden>;
    static_assert(std::is_same_v<H, Result_>, "engram: hidden and out have the same element type");
    const Index tokens = hidden.extent(0);
    if (Status s = check_keys(keys, value, tokens); !s.ok()) return s;
    if (Status s = check_streams(hidden, out, options); !s.ok()) return s;
    const Index sequences = sequence_count(options);
    const Index needed = fuse_workspace_bytes(tokens, sequences);
    if (workspace.size() < needed) return {Code::workspace_small, 0, needed};
    Workspace memory(workspace);
    const Scratch scratch = take_scratch(memory, tokens, sequences);
    const View<const H, 3> stream = hidden;
    device.for_items(1, [&](const auto&, Index) {
      mark_parts(scratch, options, 0, tokens, View<const std::int32_t, 2>());
      order_taps(scratch, options, 0, tokens);
    });
    score(View<const std::remove_const_t<Key>, 3>(keys), 0, stream, scratch, options, 0, device);
    update(View<const std::remove_const_t<Value>, 2>(value), stream, out, scratch, options, 0,
           device);
    device.wait();
    return {};
  }

  /// Everything: rows to the new hidden state.
  template <class Row, class RowSpace, class Hidden, class Result_, class Dev = CpuDevice>
  ENGRAM_ALWAYS_INLINE Status forward(View<Row, 2, RowSpace> rows, View<Hidden, 3> hidden,
                                      View<Result_, 3> out, View<std::byte, 1> workspace,
                                      const FusionOptions& options = {},
                                      const Dev& device = {}) const noexcept {
    using H = std::remove_const_t<Hidden>;
    static_assert(std::is_same_v<H, Result_>, "engram: hidden and out have the same element type");
    const View<const std::remove_const_t<Row>, 2> ids = on_host(rows);
    const View<const H, 3> stream = hidden;
    const Index tokens = hidden.extent(0);
    if (ids.extent(0) != tokens) return {Code::shape_mismatch, 0, tokens};
    if (ids.extent(1) != columns()) return {Code::shape_mismatch, 0, columns()};
    if (Status s = check_streams(hidden, out, options); !s.ok()) return s;
    if (Status s = check_row_ids(ids, table_->num_rows()); !s.ok()) return s;
    const Index sequences = sequence_count(options);
    const Index needed = workspace_bytes(tokens, sequences);
    if (workspace.size() < needed) return {Code::workspace_small, 0, needed};

    for (Index begin = 0; begin < tokens; begin += token_tile) {
      const Index count = tokens - begin < token_tile ? tokens - begin : token_tile;
      Workspace memory(workspace);
      const Scratch scratch = take_scratch(memory, count, sequences);
      const Index at_once = segments_at_once(count);
      const View<In, 2> e(memory.take<In>(count * projection_->input_width()), count,
                          projection_->input_width());
      const View<Out, 3> kv(memory.take<Out>(count * at_once * width()), count, at_once, width());
      const auto tile_ids = ids.slice(begin, count);
      device.for_items(1, [&](const auto&, Index) {
        mark_parts(scratch, options, begin, count, tile_ids);
        order_taps(scratch, options, begin, count);
      });
      if (Status s = table_->gather(tile_ids, e, device); !s.ok()) return s;
      prepare(e, device);
      const auto tile_stream = stream.slice(begin, count);
      for (Index first = 0; first <= branches(); first += at_once) {
        project_segments(e, first, kv, device);
        const Index keys = branches() - first < at_once ? branches() - first : at_once;
        if (keys > 0)
          score(View<const Out, 3>(kv.data(), count, keys, width())
                    .template with_stride<0>(kv.stride(0)),
                first, tile_stream, scratch, options, begin, device);
      }
      const View<const Out, 2> value = kv.template at<1>(at_once - 1);
      update(value, tile_stream, out.slice(begin, count), scratch, options, begin, device);
    }
    device.wait();
    return {};
  }

 private:
  struct Scratch {
    View<Part, 1> parts;
    View<float, 2> gates;
    View<float, 2> factors;
    TapOrder taps;
    View<Index, 1> starts;  // of the sequences, within this tile
  };

  template <class T>
  static Index bytes_for(Index count) noexcept {
    return static_cast<Index>(Workspace::bytes_for<T>(count));
  }

  /// All segments when they are small, so that one token costs few meetings of the threads; else
  /// one, so that keys are scored while they are in cache.
  Index segments_at_once(Index tokens) const noexcept {
    const Index all = (branches() + 1) * tokens * width() * static_cast<Index>(sizeof(Out));
    return all <= Index{1} << 20 ? branches() + 1 : 1;
  }

  static Index sequence_count(const FusionOptions& options) noexcept {
    return options.sequence_starts.size() == 0 ? 1 : options.sequence_starts.extent(0) - 1;
  }

  ENGRAM_ALWAYS_INLINE std::string parts_fault() const {
    if (table_->row_width() < 1 || projection_->input_width() % table_->row_width() != 0)
      return sentence({"the projection takes ", projection_->input_width(),
                       " elements a token, not a multiple of the table's row of ",
                       table_->row_width()});
    return fusion_fault(weights_, config_, branches(), width());
  }

  template <class Key, class Value>
  Status check_keys(View<Key, 3> keys, View<Value, 2> value, Index tokens) const noexcept {
    const Index expected[3] = {tokens, branches(), width()};
    for (int r = 0; r < 3; ++r)
      if (keys.extent(r) != expected[r]) return {Code::shape_mismatch, 0, expected[r]};
    if (value.extent(0) != tokens) return {Code::shape_mismatch, 0, tokens};
    if (value.extent(1) != width()) return {Code::shape_mismatch, 0, width()};
    return {};
  }

  template <class Hidden, class Result_>
  Status check_streams(View<Hidden, 3> hidden, View<Result_, 3> out,
                       const FusionOptions& o) const noexcept {
    const Index tokens = hidden.extent(0);
    const Index expected[3] = {tokens, branches(), width()};
    for (int r = 0; r < 3; ++r)
      if (hidden.extent(r) != expected[r] || out.extent(r) != expected[r])
        return {Code::shape_mismatch, 0, expected[r]};
    if (static_cast<const void*>(hidden.data()) == out.data() && tokens > 0)
      for (int r = 0; r < 2; ++r)
        if (hidden.stride(r) != out.stride(r) && hidden.extent(r) > 1)
          return {Code::shape_mismatch, 0, hidden.stride(r)};
    if (o.marks.size() != 0 && o.marks.extent(0) != tokens)
      return {Code::shape_mismatch, 0, tokens};
    for (Index t = 0; t < o.marks.size(); ++t)
      if (!is_valid(o.marks(t))) return {Code::bad_mark, 0, t};
    if (o.scale.size() != 0 && o.scale.extent(0) != tokens)
      return {Code::shape_mismatch, 0, tokens};
    for (const View<float, 2>& watched : {o.scores, o.gates, o.norms})
      for (int r = 0; r < 2; ++r)
        if (watched.size() != 0 && watched.extent(r) != expected[r])
          return {Code::shape_mismatch, 0, expected[r]};
    return check_sequences(tokens, o);
  }

  Status check_sequences(Index tokens, const FusionOptions& o) const noexcept {
    const View<const Index, 1> starts = o.sequence_starts;
    for (Index s = 0; s < starts.extent(0); ++s)
      if (starts(s) < (s == 0 ? 0 : starts(s - 1)) || starts(s) > tokens ||
          (s == 0 && starts(s) != 0))
        return {Code::bad_sequence, 0, s};
    if (starts.extent(0) == 1) return {Code::bad_sequence, 0, 0};
    if (conv_state_size() == 0) return {};
    const Index sequences = sequence_count(o);
    if (o.conv_state.extent(0) != sequences) return {Code::shape_mismatch, 0, sequences};
    if (o.conv_state.extent(1) != conv_state_size())
      return {Code::shape_mismatch, 0, conv_state_size()};
    return {};
  }

  Scratch take_scratch(Workspace& memory, Index tokens, Index sequences) const noexcept {
    Scratch s;
    s.parts = View<Part, 1>(memory.take<Part>(tokens), tokens);
    s.gates = View<float, 2>(memory.take<float>(tokens * branches()), tokens, branches());
    s.factors = View<float, 2>(memory.take<float>(tokens * branches()), tokens, branches());
    for (View<Index, 1>* list : {&s.taps.order, &s.taps.place, &s.taps.sequence})
      *list = View<Index, 1>(memory.take<Index>(tokens), tokens);
    for (View<Index, 1>* list : {&s.taps.begins, &s.starts})
      *list = View<Index, 1>(memory.take<Index>(sequences + 1), sequences + 1);
    return s;
  }

  template <class Row>
  void mark_parts(const Scratch& s, const FusionOptions& o, Index begin, Index count,
                  View<const Row, 2> ids) const noexcept {
    for (Index t = 0; t < count; ++t) {
      const Mark mark = o.marks.size() == 0 ? Mark::token : o.marks(begin + t);
      const bool knocked_out = o.scale.size() != 0 && o.scale(begin + t) == 0;
      const bool no_rows = ids.extent(0) != 0 && ids(t, 0) == -1;
      s.parts(t) = has(mark, Mark::padding) || no_rows    ? Part::absent
                   : has(mark, Mark::dead) || knocked_out ? Part::none
                                                          : Part::full;
    }
  }

  void order_taps(const Scratch& s, const FusionOptions& o, Index begin,
                  Index count) const noexcept {
    for (Index i = 0; i < s.starts.extent(0); ++i) {
      const Index whole = i == 0 ? 0 : begin + count;
      const Index start = (o.sequence_starts.size() == 0 ? whole : o.sequence_starts(i)) - begin;
      s.starts(i) = start < 0 ? 0 : start > count ? count : start;
    }
    s.taps.fill(s.starts, s.parts);
  }

  template <class Dev>
  void prepare(View<In, 2> e, const Dev& device) const noexcept {
    if constexpr (requires { projection_->prepare(e); })
      device.for_items(e.extent(0),
                       [&](const auto&, Index t) { projection_->prepare(e.slice(t, 1)); });
  }

  template <class Dev>
  void project_segments(View<const In, 2> e, Index first, View<Out, 3> kv,
                        const Dev& device) const noexcept {
    const Index tiles = projection_->tiles();
    device.for_items(kv.extent(1) * tiles, [&](const auto&, Index item) {
      projection_->project(e, static_cast<int>(first + item / tiles), item % tiles,
                           kv.template at<1>(item / tiles));
    });
  }

  template <class Key, class Hidden, class Dev>
  void score(View<const Key, 3> keys, Index first, View<const Hidden, 3> hidden, const Scratch& s,
             const FusionOptions& o, Index begin, const Dev& device) const noexcept {
    const Index count = keys.extent(0);
    const ScoreBody<Key, Hidden, GateType> body{keys,
                                                hidden,
                                                weights_.gain,
                                                config_.query_eps,
                                                config_.key_eps,
                                                gate_,
                                                first,
                                                s.parts,
                                                tile_of(o.scale, begin, count),
                                                tile_of(o.scores, begin, count),
                                                s.gates};
    device.for_items(count * keys.extent(1), body);
  }

  template <class Value, class Hidden, class Dev>
  void update(View<const Value, 2> value, View<const Hidden, 3> hidden, View<Hidden, 3> out,
              const Scratch& s, const FusionOptions& o, Index begin,
              const Dev& device) const noexcept {
    const Index count = value.extent(0);
    const Index items = count * branches();
    const UpdateBody<Value, Hidden> plain{
        value, hidden, s.parts, s.gates, config_.add_residual, out, tile_of(o.norms, begin, count)};
    if (o.gates.size() != 0) {
      const View<float, 2> watched = o.gates.slice(begin, count);
      device.for_items(count, [&](const auto&, Index t) {
        for (Index g = 0; g < branches(); ++g) watched(t, g) = s.gates(t, g);
      });
    }
    if (weights_.conv.size() == 0) {
      device.for_items(items, plain);
      return;
    }
    device.for_items(items,
                     ConvFactorBody<Value>{value, s.parts, s.gates, config_.conv_eps, s.factors});
    const ConvColumns<Value> columns{value,
                                     s.parts,
                                     s.factors,
                                     weights_.conv_gain,
                                     s.taps,
                                     o.conv_state,
                                     (weights_.conv.extent(0) - 1) * config_.dilation,
                                     branches()};
    device.for_items(
        items, ConvUpdateBody<Value, Hidden>{plain, columns, weights_.conv, config_.dilation});
    device.for_items(sequence_count(o) * branches(), ConvStateBody<Value>{columns, o.conv_state});
  }

  template <class T, int Rank>
  static View<T, Rank> tile_of(View<T, Rank> view, Index begin, Index count) noexcept {
    return view.size() == 0 ? view : view.slice(begin, count);
  }

  RowTableType* table_;
  const ProjectionType* projection_;
  FusionWeights weights_;
  FusionConfig config_;
  GateType gate_;
};

template <class T, class P>
EngramLayer(T&, const P&, const FusionWeights&, const FusionConfig&)
    -> EngramLayer<T, P, SignedSqrtGate>;

ENGRAM_END_NAMESPACE
