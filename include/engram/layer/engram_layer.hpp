// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The memory of one transformer block: row ids in, hidden state out. Rows are gathered and
// projected to keys and a value, the gate weighs the value for each branch, and the result is added
// to the residual stream. Each step can be called alone, for an engine that has its own matrix
// product.

#include <engram/layer/config.hpp>
#include <engram/layer/layer_steps.hpp>
#include <engram/storage/table.hpp>

ENGRAM_BEGIN_NAMESPACE

/// A table, a projection and a gate, composed. Holds pointers to the first two and views of the
/// weights, owns nothing; const calls may run concurrently where the table's may (a FetchTable's
/// may not: then each thread has its own, and a layer over it).
///
/// Arguments that several calls share:
///   rows       [T, H] int32 or int64, H * row width = M: a layer's slice of the front end's rows,
///              or ids from anywhere. A token whose rows are all -1 passes through.
///   hidden     [T, G, D] float, Bf16 or F16, token and branch strides free.
///   out        [T, G, D] of the same type; may be `hidden` itself, else must not overlap it.
///   workspace  workspace_bytes(T, S) bytes, any alignment, contents irrelevant.
///   device     all of the work on the calling thread; or share i of n: then n threads make the
///              same call, each with its share, one barrier and the same workspace.
/// Memory that the host reaches. Every call checks its arguments first, all threads theirs: on any
/// status but ok and io nothing has been written.
///   shape_mismatch   extents disagree (index: the extent expected)
///   bad_row          (index: place in [T * H])
///   bad_mark, bad_sequence as in FrontEnd
///   workspace_small  (index: bytes needed)
///   invalid_config   the parts do not fit together (check() has the sentence), the device's share
///                    is none, or another thread of the call was refused
///   io               or what the table's reader says: the rows could not be read. `out` and the
///                    states are those before token `index`, the first of a block of token_tile
/// NaN in a token's hidden state makes that branch of that token NaN and nothing else (with a
/// convolution also what its taps reach). Mark::start begins a document: no tap reaches before it.
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
  using projection_type = ProjectionType;
  using gate_type = GateType;

  /// Tokens that forward takes at a time, so that a long prompt needs no more memory than this.
  static constexpr Index token_tile = 512;

  EngramLayer(RowTableType& table, const ProjectionType& projection, const FusionWeights& weights,
              const FusionConfig& config, GateType gate = {}) noexcept
      : table_(&table), projection_(&projection), weights_(weights), config_(config), gate_(gate) {}

  /// A projection that ends with the statement would be gone at the first call.
  EngramLayer(RowTableType&, const ProjectionType&&, const FusionWeights&, const FusionConfig&,
              GateType = {}) = delete;

  Index branches() const noexcept { return projection_->branches(); }
  Index width() const noexcept { return projection_->output_width(); }
  /// H, rows a token reads.
  Index columns() const noexcept { return projection_->input_width() / table_->row_width(); }
  /// Floats of one sequence's convolution state; 0 without a convolution.
  Index conv_state_size() const noexcept {
    return engram::conv_state_size(weights_.conv.extent(0), config_.dilation, branches(), width());
  }

  RowTableType& table() const noexcept { return *table_; }
  const ProjectionType& projection() const noexcept { return *projection_; }
  const FusionWeights& weights() const noexcept { return weights_; }
  const FusionConfig& config() const noexcept { return config_; }
  const GateType& gate() const noexcept { return gate_; }

  /// ok, or invalid_config and why table, projection and weights do not fit together.
  ENGRAM_ALWAYS_INLINE Result<void> check() const {
    if (const std::string fault = parts_fault(); !fault.empty())
      return fail(Code::invalid_config, {"layer: ", fault});
    return {};
  }

  /// Bytes of workspace for calls of up to `tokens` tokens in `sequences` sequences.
  ENGRAM_ALWAYS_INLINE Index workspace_bytes(Index tokens, Index sequences = 1) const noexcept {
    const Index block = tokens < token_tile ? tokens : token_tile;
    return fuse_workspace_bytes(block, sequences) +
           static_cast<Index>(Workspace::bytes_for<In>(block * projection_->input_width()) +
                              Workspace::bytes_for<Out>(segment_elements(block)));
  }
  /// The same for fuse alone.
  ENGRAM_ALWAYS_INLINE Index fuse_workspace_bytes(Index tokens,
                                                  Index sequences = 1) const noexcept {
    return layer_scratch_bytes(tokens, branches(), sequences);
  }

  /// Rows to elements: e [T, M] in the type that the projection takes.
  template <class Row, class RowSpace, class Dev = CpuDevice>
  ENGRAM_ALWAYS_INLINE Status gather(View<Row, 2, RowSpace> rows, View<In, 2> e,
                                     const Dev& device = {}) const noexcept {
    static_assert(check_device<Dev>());
    if (Status s = agree_on({}, device); !s.ok()) return s;
    const Status read =
        table_->gather(View<const std::remove_const_t<Row>, 2>(on_host(rows)), e, device);
    return agree_on(read, device);
  }

  /// Elements to keys [T, G, D] and value [T, D]. Rewrites e where the projection quantises its
  /// inputs.
  template <class Dev = CpuDevice>
  ENGRAM_ALWAYS_INLINE Status project(View<In, 2> e, View<Out, 3> keys, View<Out, 2> value,
                                      const Dev& device = {}) const noexcept {
    static_assert(check_device<Dev>());
    Status checked = check_keys(keys, value, e.extent(0), branches(), width());
    if (e.extent(1) != projection_->input_width())
      checked = {Code::shape_mismatch, 0, projection_->input_width()};
    if (Status s = agree_on(checked, device); !s.ok()) return s;
    prepare_inputs(*projection_, e, device);
    project_segments(*projection_, View<const In, 2>(e), 0, keys, device);
    const View<Out, 3> as_segment = View<Out, 3>(value.data(), value.extent(0), 1, width())
                                        .template with_stride<0>(value.stride(0));
    project_segments(*projection_, View<const In, 2>(e), branches(), as_segment, device);
    device.wait();
    return {};
  }

  /// Keys and value to the new hidden state. keys [T, G, D], value [T, D]: float, Bf16 or F16,
  /// strides free.
  template <class Key, class Value, class Hidden, class Updated, class Dev = CpuDevice>
  ENGRAM_ALWAYS_INLINE Status fuse(View<Key, 3> keys, View<Value, 2> value, View<Hidden, 3> hidden,
                                   View<Updated, 3> out, View<std::byte, 1> workspace,
                                   const FusionOptions& options = {},
                                   const Dev& device = {}) const noexcept {
    using H = std::remove_const_t<Hidden>;
    static_assert(std::is_same_v<H, Updated>, "engram: hidden and out have the same element type");
    static_assert(check_device<Dev>());
    const Index tokens = hidden.extent(0);
    const Index sequences = sequence_count(options);
    const Status checked = check_fuse(keys, value, hidden, out, workspace, options);
    if (Status s = agree_on(checked, device); !s.ok()) return s;
    Workspace memory(workspace);
    const LayerScratch scratch = take_layer_scratch(memory, tokens, branches(), sequences);
    begin_block(scratch, options, 0, View<const std::int32_t, 2>(), device);
    score_keys(View<const std::remove_const_t<Key>, 3>(keys), 0, View<const H, 3>(hidden), weights_,
               config_, gate_, scratch, options, 0, device);
    update_streams(View<const std::remove_const_t<Value>, 2>(value), View<const H, 3>(hidden), out,
                   weights_, config_, scratch, options, 0, device);
    device.wait();
    return {};
  }

  /// Everything: rows to the new hidden state.
  template <class Row, class RowSpace, class Hidden, class Updated, class Dev = CpuDevice>
  ENGRAM_ALWAYS_INLINE Status forward(View<Row, 2, RowSpace> rows, View<Hidden, 3> hidden,
                                      View<Updated, 3> out, View<std::byte, 1> workspace,
                                      const FusionOptions& options = {},
                                      const Dev& device = {}) const noexcept {
    using H = std::remove_const_t<Hidden>;
    static_assert(std::is_same_v<H, Updated>, "engram: hidden and out have the same element type");
    const View<const std::remove_const_t<Row>, 2> ids = on_host(rows);
    static_assert(check_device<Dev>());
    const Index tokens = hidden.extent(0);
    const Index sequences = sequence_count(options);
    const Status checked = check_forward(ids, hidden, out, workspace, options);
    if (Status s = agree_on(checked, device); !s.ok()) return s;

    for (Index begin = 0; begin < tokens; begin += token_tile) {
      const Index count = tokens - begin < token_tile ? tokens - begin : token_tile;
      const auto block_ids = ids.slice(begin, count);
      const View<const H, 3> stream = View<const H, 3>(hidden).slice(begin, count);
      const Index at_once = segments_at_once(count);
      Workspace memory(workspace);
      const LayerScratch scratch = take_layer_scratch(memory, count, branches(), sequences);
      const View<In, 2> e(memory.take<In>(count * projection_->input_width()), count,
                          projection_->input_width());
      const View<Out, 3> kv(memory.take<Out>(count * at_once * width()), count, at_once, width());

      begin_block(scratch, options, begin, block_ids, device);
      if (Status s = table_->gather(block_ids, e, device); !s.ok()) {
        s.index = begin;
        return s;
      }
      prepare_inputs(*projection_, e, device);
      for (Index first = 0; first <= branches(); first += at_once) {
        project_segments(*projection_, View<const In, 2>(e), first, kv, device);
        const Index keys = branches() - first < at_once ? branches() - first : at_once;
        if (keys > 0)
          score_keys(View<const Out, 3>(kv.data(), count, keys, width())
                         .template with_stride<0>(kv.stride(0)),
                     first, stream, weights_, config_, gate_, scratch, options, begin, device);
      }
      update_streams(View<const Out, 2>(kv.template at<1>(at_once - 1)), stream,
                     out.slice(begin, count), weights_, config_, scratch, options, begin, device);
    }
    device.wait();
    return {};
  }

 private:
  /// The arguments of fuse, before anything is written.
  template <class Key, class Value, class Hidden, class Updated>
  ENGRAM_ALWAYS_INLINE Status check_fuse(View<Key, 3> keys, View<Value, 2> value,
                                         View<Hidden, 3> hidden, View<Updated, 3> out,
                                         View<std::byte, 1> workspace,
                                         const FusionOptions& options) const noexcept {
    const Index tokens = hidden.extent(0);
    if (!parts_fault().empty()) return {Code::invalid_config};
    if (Status s = check_keys(keys, value, tokens, branches(), width()); !s.ok()) return s;
    if (Status s = check_streams(hidden, out, branches(), width(), conv_state_size(), options);
        !s.ok())
      return s;
    return check_workspace(workspace, fuse_workspace_bytes(tokens, sequence_count(options)));
  }

  /// The arguments of forward, before anything is written.
  template <class Row, class Hidden, class Updated>
  ENGRAM_ALWAYS_INLINE Status check_forward(View<const Row, 2> ids, View<Hidden, 3> hidden,
                                            View<Updated, 3> out, View<std::byte, 1> workspace,
                                            const FusionOptions& options) const noexcept {
    const Index tokens = hidden.extent(0);
    if (!parts_fault().empty()) return {Code::invalid_config};
    if (ids.extent(0) != tokens) return {Code::shape_mismatch, 0, tokens};
    if (ids.extent(1) != columns()) return {Code::shape_mismatch, 0, columns()};
    if (Status s = check_streams(hidden, out, branches(), width(), conv_state_size(), options);
        !s.ok())
      return s;
    if (Status s = check_row_ids(ids, table_->num_rows()); !s.ok()) return s;
    return check_workspace(workspace, workspace_bytes(tokens, sequence_count(options)));
  }

  static Status check_workspace(View<std::byte, 1> workspace, Index needed) noexcept {
    return workspace.size() < needed ? Status{Code::workspace_small, 0, needed} : Status{};
  }

  /// All segments when they are small, so that one token costs few meetings of the threads; else
  /// one, so that keys are scored while they are in cache.
  Index segments_at_once(Index tokens) const noexcept {
    const Index all = (branches() + 1) * tokens * width() * static_cast<Index>(sizeof(Out));
    return all <= Index{1} << 20 ? branches() + 1 : 1;
  }

  /// Elements of the segments at once for any number of tokens up to this: a shorter block may take
  /// all segments where a longer one takes one.
  Index segment_elements(Index tokens) const noexcept {
    const Index one = tokens * width();
    const Index most = (Index{1} << 20) / static_cast<Index>(sizeof(Out));
    const Index all = (branches() + 1) * one < most ? (branches() + 1) * one : most;
    return one > all ? one : all;
  }

  ENGRAM_ALWAYS_INLINE std::string parts_fault() const {
    if (table_->row_width() < 1 || projection_->input_width() % table_->row_width() != 0)
      return sentence({"the projection takes ", projection_->input_width(),
                       " elements a token, not a multiple of the table's row of ",
                       table_->row_width()});
    return fusion_fault(weights_, config_, branches(), width());
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

ENGRAM_BEGIN_LOOPS

/// The settings of a model's gate and convolution; the convolution's taps are max_ngram_size tokens
/// apart.
inline FusionConfig fusion_config(const EngramConfig& config) noexcept {
  FusionConfig fusion;
  fusion.query_eps = fusion.key_eps = config.norm_eps;
  fusion.conv_eps = config.conv_eps;
  fusion.dilation = config.max_ngram_size;
  return fusion;
}

ENGRAM_END_LOOPS

ENGRAM_END_NAMESPACE
