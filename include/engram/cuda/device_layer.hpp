// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// EngramLayer on a GPU: row ids in, hidden state out, in one call on the caller's stream. The rows
// can be read before, beside other work: gather(), then apply().

#include <engram/cuda/convolve.hpp>
#include <engram/cuda/device_projection.hpp>
#include <engram/gating/segments.hpp>

ENGRAM_BEGIN_NAMESPACE

/// FusionWeights in the GPU's memory.
struct DeviceFusionWeights {
  DeviceView<const float, 2> gain;       ///< [G, D] (multiply_gains), or empty: 1
  DeviceView<const float, 2> conv_gain;  ///< [G, D], or empty: 1
  DeviceView<const float, 3> conv;       ///< [taps, G, D] (transpose_conv); empty: no convolution
};

/// FusionOptions in the GPU's memory. An empty view is left out.
///
/// Start: int32 or int64.
template <class Start = std::int32_t>
struct DeviceFusionOptions {
  DeviceView<const Mark, 1> marks;             ///< [T] dead and padding pass through
  DeviceView<const float, 1> scale;            ///< [T] factor of each token's gates
  DeviceView<const Start, 1> sequence_starts;  ///< [S + 1]; empty: one sequence
  DeviceView<float, 2> conv_state;             ///< [S, conv_state_size], needed with a convolution
  DeviceView<float, 2> scores;                 ///< [T, G] written: the score before the gate
  DeviceView<float, 2> gates;                  ///< [T, G] written: the factor of the value
  DeviceView<float, 2> norms;                  ///< [T, G] written: norm of what was added

  Index sequences() const noexcept {
    return sequence_starts.extent(0) == 0 ? 1 : sequence_starts.extent(0) - 1;
  }
};

/// Calls the gather() of a table's own header, which within DeviceLayer its member gather() hides.
template <KernelDevice Dev, class TableType, class Row, class Out>
ENGRAM_HIDDEN Status gather_from(const Dev& device, const TableType& table,
                                 DeviceView<const Row, 2> rows, DeviceView<Out, 2> out) noexcept {
  return gather(device, table, rows, out);
}

/// A table, a projection and a gate on a GPU, composed. Holds pointers to the first two and views
/// of the weights, owns nothing; const calls may run at the same time, on streams and with
/// workspaces of their own.
///
/// A table is what `gather(device, table, rows, e)` reads: Table<DeviceStore, Codec>,
/// Table<PinnedStore, Codec> (cuda/gather.cuh) or a CachedTable (cuda/cached_gather.cuh), or the
/// caller's own with `row_width()`. What those headers launch must be seen where the layer is
/// called.
///
/// Arguments that several calls share, all in memory of the GPU:
///   rows       [T, H] int32 or int64, H * row width = M. A token whose first id is -1 passes
///              through. Unlike EngramLayer's, a token with rows in some columns only is not
///              reported, and marks are taken by their bits.
///   e          [T, M] of the projection's input type, dense.
///   hidden     [T, G, D] float, Bf16 or F16, token and branch strides free.
///   out        [T, G, D] of the same type; may be `hidden` itself, else must not overlap it.
///   workspace  workspace_bytes(T, S) bytes, any alignment, contents irrelevant.
/// All tokens of a call at once, unlike EngramLayer: a long prompt is given in chunks, and the
/// convolution's states carry it on.
/// On any status but ok, `out` and the states are as they were; nothing was launched, unless it is
/// the projection that refuses:
///   shape_mismatch   extents disagree (index: the extent expected)
///   workspace_small  (index: bytes needed)
///   invalid_config   a convolution of more than 64 taps or of a dilation below 1
///   or what table and projection say
/// and device.wait() says bad_row and bad_sequence, see gather() and fuse().
/// No allocation and no waiting; can be captured where the projection can.
template <class TableType, class ProjectionType, class GateType>
class DeviceLayer {
  static_assert(check_device_projection<ProjectionType>());
  static_assert(check_gate<GateType>());
  using In = typename ProjectionType::input_type;
  using Out = typename ProjectionType::output_type;

 public:
  DeviceLayer(TableType& table, const ProjectionType& projection,
              const DeviceFusionWeights& weights, const FusionConfig& config,
              GateType gate = {}) noexcept
      : table_(&table), projection_(&projection), weights_(weights), config_(config), gate_(gate) {}

  /// A projection that ends with the statement would be gone at the first call.
  DeviceLayer(TableType&, const ProjectionType&&, const DeviceFusionWeights&, const FusionConfig&,
              GateType = {}) = delete;

  Index branches() const noexcept { return projection_->branches(); }
  Index width() const noexcept { return projection_->output_width(); }
  /// Floats of one sequence's convolution state; 0 without a convolution.
  Index conv_state_size() const noexcept {
    return engram::conv_state_size(weights_.conv.extent(0), config_.dilation, branches(), width());
  }

  /// ok, or invalid_config and why table, projection and weights do not fit together.
  Result<void> check() const {
    const Index row = table_->row_width(), inputs = projection_->input_width();
    if (row < 1 || inputs % row != 0)
      return fail(Code::invalid_config,
                  {"layer: the projection takes ", inputs,
                   " elements a token, not a multiple of the table's row of ", row});
    const FusionWeights shapes{weights_.gain.for_body(), weights_.conv_gain.for_body(),
                               weights_.conv.for_body()};
    if (const std::string fault = fusion_fault(shapes, config_, branches(), width());
        !fault.empty())
      return fail(Code::invalid_config, {"layer: ", fault});
    return {};
  }

  /// Bytes of workspace for calls of T tokens in S sequences, and of fewer. Ask again after the
  /// projection's prepare(), which may raise it.
  Index workspace_bytes(Index tokens, Index sequences = 1) const noexcept {
    return static_cast<Index>(Workspace::bytes_for<In>(tokens * projection_->input_width()) +
                              Workspace::bytes_for<Out>(tokens * outputs()) +
                              Workspace::bytes_for<float>(tokens * branches()) +
                              Workspace::bytes_for<Part>(tokens) +
                              Workspace::bytes_for<std::byte>(projection_->workspace_bytes()) +
                              Workspace::bytes_for<std::byte>(conv_bytes(tokens, sequences)));
  }

  /// Rows to elements, for apply(): on another stream, when the tokens are known.
  template <KernelDevice Dev, class Row>
  ENGRAM_HIDDEN Status gather(const Dev& device, DeviceView<Row, 2> rows,
                              DeviceView<In, 2> e) const noexcept {
    if (e.extent(1) != projection_->input_width())
      return {Code::shape_mismatch, 0, projection_->input_width()};
    const DeviceView<const std::remove_const_t<Row>, 2> ids = rows;
    return engram::gather_from(device, *table_, ids, e);
  }

  /// Elements to the new hidden state. Rewrites e where the projection quantises its inputs, also
  /// where it then refuses the call.
  ///
  /// rows  of the elements, or empty: every token has rows.
  template <KernelDevice Dev, class Row, class Hidden, class Updated, class Start = std::int32_t>
  ENGRAM_HIDDEN Status apply(const Dev& device, DeviceView<In, 2> e, DeviceView<Row, 2> rows,
                             DeviceView<Hidden, 3> hidden, DeviceView<Updated, 3> out,
                             DeviceView<std::byte, 1> workspace,
                             const DeviceFusionOptions<Start>& options = {}) const noexcept {
    const Arrays<Row, Start> arrays = arrays_of(rows, hidden.extent(0), workspace, options);
    if (Status s = check_call(arrays, hidden, out, workspace, options); !s.ok()) return s;
    if (e.extent(0) != hidden.extent(0)) return {Code::shape_mismatch, 0, hidden.extent(0)};
    if (e.extent(1) != projection_->input_width())
      return {Code::shape_mismatch, 0, projection_->input_width()};
    return update(device, e, hidden, out, arrays);
  }

  /// Everything: rows to the new hidden state.
  template <KernelDevice Dev, class Row, class Hidden, class Updated, class Start = std::int32_t>
  ENGRAM_HIDDEN Status forward(const Dev& device, DeviceView<Row, 2> rows,
                               DeviceView<Hidden, 3> hidden, DeviceView<Updated, 3> out,
                               DeviceView<std::byte, 1> workspace,
                               const DeviceFusionOptions<Start>& options = {}) const noexcept {
    const Arrays<Row, Start> arrays = arrays_of(rows, hidden.extent(0), workspace, options);
    if (Status s = check_call(arrays, hidden, out, workspace, options); !s.ok()) return s;
    if (rows.extent(0) != hidden.extent(0)) return {Code::shape_mismatch, 0, hidden.extent(0)};
    if (Status s = gather(device, rows, arrays.e); !s.ok()) return s;
    return update(device, arrays.e, hidden, out, arrays);
  }

 private:
  /// What the steps of a call take: pieces of the workspace, and the caller's arrays as fuse() has
  /// them.
  template <class Row, class Start>
  struct Arrays {
    DeviceView<In, 2> e;
    DeviceView<Out, 3> segments;
    DeviceView<float, 2> gates;
    DeviceView<Part, 1> parts;
    DeviceView<std::byte, 1> projection, conv_workspace;
    DeviceFusion<std::remove_const_t<Row>> with;
    DeviceConv<Start> conv;
  };

  Index outputs() const noexcept { return (branches() + 1) * width(); }
  Index conv_bytes(Index tokens, Index sequences) const noexcept {
    return weights_.conv.size() == 0 ? 0 : conv_workspace_bytes(tokens, branches(), sequences);
  }
  /// Views of null where the workspace is too small; check_call() then refuses the call.
  template <class Row, class Start>
  Arrays<Row, Start> arrays_of(DeviceView<Row, 2> rows, Index tokens,
                               DeviceView<std::byte, 1> workspace,
                               const DeviceFusionOptions<Start>& o) const noexcept {
    Workspace memory(workspace.for_body());
    Arrays<Row, Start> arrays;
    const Index inputs = projection_->input_width(), conv = conv_bytes(tokens, o.sequences());
    arrays.e = DeviceView<In, 2>(memory.take<In>(tokens * inputs), tokens, inputs);
    arrays.segments =
        DeviceView<Out, 3>(memory.take<Out>(tokens * outputs()), tokens, branches() + 1, width());
    arrays.gates =
        DeviceView<float, 2>(memory.take<float>(tokens * branches()), tokens, branches());
    if (o.gates.size() != 0) arrays.gates = o.gates;
    arrays.parts = DeviceView<Part, 1>(memory.take<Part>(tokens), tokens);
    const Index products = projection_->workspace_bytes();
    arrays.projection = DeviceView<std::byte, 1>(memory.take<std::byte>(products), products);
    arrays.conv_workspace = DeviceView<std::byte, 1>(memory.take<std::byte>(conv), conv);
    arrays.with.gain = weights_.gain;
    arrays.with.marks = o.marks;
    arrays.with.scale = o.scale;
    arrays.with.rows = rows;
    arrays.with.scores = o.scores;
    arrays.with.norms = o.norms;
    arrays.conv.weights = weights_.conv;
    arrays.conv.gain = weights_.conv_gain;
    arrays.conv.starts = o.sequence_starts;
    arrays.conv.states = o.conv_state;
    return arrays;
  }

  template <class Row, class Start, class Hidden, class Updated>
  Status check_call(const Arrays<Row, Start>& arrays, DeviceView<Hidden, 3> hidden,
                    DeviceView<Updated, 3> out, DeviceView<std::byte, 1> workspace,
                    const DeviceFusionOptions<Start>& o) const noexcept {
    const Index tokens = hidden.extent(0), needed = workspace_bytes(tokens, o.sequences());
    if (hidden.extent(1) != branches()) return {Code::shape_mismatch, 0, branches()};
    if (hidden.extent(2) != width()) return {Code::shape_mismatch, 0, width()};
    if (workspace.size() < needed) return {Code::workspace_small, 0, needed};
    const Status fits = check_fusion(keys_of(arrays.segments), value_of(arrays.segments), hidden,
                                     out, arrays.with, arrays.gates, arrays.parts);
    if (!fits.ok() || weights_.conv.size() == 0) return fits;
    return check_conv(arrays.conv, config_.dilation, tokens, branches(), width(),
                      arrays.conv_workspace);
  }

  template <KernelDevice Dev, class Row, class Start, class Hidden, class Updated>
  ENGRAM_HIDDEN Status update(const Dev& device, DeviceView<In, 2> e, DeviceView<Hidden, 3> hidden,
                              DeviceView<Updated, 3> out,
                              const Arrays<Row, Start>& arrays) const noexcept {
    static_assert(
        requires {
          {
            projection_->project(device, e, arrays.segments, arrays.projection)
            } -> std::same_as<Status>;
        },
        "engram: a projection on a GPU needs 'Status project(device, e, segments, workspace) "
        "const'");
    if (Status s = projection_->project(device, e, arrays.segments, arrays.projection); !s.ok())
      return s;
    const auto keys = keys_of(arrays.segments);
    const auto value = value_of(arrays.segments);
    if (weights_.conv.size() == 0)
      return fuse(device, keys, value, hidden, out, config_, gate_, arrays.with, arrays.gates,
                  arrays.parts);
    return fuse(device, keys, value, hidden, out, config_, gate_, arrays.with, arrays.conv,
                arrays.gates, arrays.parts, arrays.conv_workspace);
  }

  TableType* table_;
  const ProjectionType* projection_;
  DeviceFusionWeights weights_;
  FusionConfig config_;
  GateType gate_;
};

template <class T, class P>
DeviceLayer(T&, const P&, const DeviceFusionWeights&, const FusionConfig&)
    -> DeviceLayer<T, P, SignedSqrtGate>;

ENGRAM_END_NAMESPACE
