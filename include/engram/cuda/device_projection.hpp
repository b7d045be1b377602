// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Projections on a GPU: what DeviceLayer asks of one, and the plain loop, which needs no other
// library and is what matrix products are held against.

#include <engram/core/scalar.hpp>
#include <engram/core/view.hpp>
#include <engram/cuda/kernel_device.hpp>

ENGRAM_BEGIN_NAMESPACE

/// One sentence for each operation that P lacks. Besides what is checked here, a projection on a
/// GPU has
///
///   Status project(device, DeviceView<input_type, 2> e,
///                  DeviceView<output_type, 3> segments,
///                  DeviceView<std::byte, 1> workspace) const noexcept
///
/// which launches on the device's stream: rows e [T, M] to segments [T, G + 1, D], the keys of the
/// branches and then the value. It may rewrite e, also where it fails; segments only where it does
/// not.
template <class P>
constexpr bool check_device_projection() {
  static_assert(
      requires {
        requires Element<typename P::input_type>;
        requires Element<typename P::output_type>;
      },
      "engram: a projection needs 'using input_type' and 'using output_type': float, Bf16 or F16");
  static_assert(
      requires(const P p) {
        { p.input_width() } -> std::same_as<Index>;
        { p.output_width() } -> std::same_as<Index>;
        { p.branches() } -> std::same_as<Index>;
      },
      "engram: a projection needs 'Index input_width() const', 'Index output_width() const' and "
      "'Index branches() const'");
  static_assert(
      requires(const P p) {
        { p.workspace_bytes() } -> std::same_as<Index>;
      },
      "engram: a projection on a GPU needs 'Index workspace_bytes() const', for any call");
  return true;
}

/// The letters of a projection.
struct ProjectionShape {
  Index inputs = 0;    ///< M
  Index width = 0;     ///< D
  Index branches = 0;  ///< G
};

/// shape_mismatch (index: the extent or stride expected) unless rows e [T, M] and dense segments
/// [T, G + 1, D] are of a projection's shape.
template <class In, class Out>
Status check_projection_call(const ProjectionShape& shape, DeviceView<const In, 2> e,
                             DeviceView<Out, 3> segments) noexcept {
  const auto differs = [](Index expected) { return Status{Code::shape_mismatch, 0, expected}; };
  if (e.extent(1) != shape.inputs) return differs(shape.inputs);
  if (segments.extent(0) != e.extent(0)) return differs(e.extent(0));
  if (segments.extent(1) != shape.branches + 1) return differs(shape.branches + 1);
  if (segments.extent(2) != shape.width || segments.stride(1) != shape.width)
    return differs(shape.width);
  const Index token = (shape.branches + 1) * shape.width;
  return segments.stride(0) == token ? Status{} : differs(token);
}

/// One output of one token; item t * N + n. The order of ReferenceProductBody: sums in float, lane
/// by lane and then over the lanes, the bias last, one rounding to Out.
template <Element W, Element In, Element Out>
struct OutputBody {
  View<const In, 2> e;
  View<const W, 2> weight;
  View<const float, 1> bias;
  View<Out, 2> out;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index outputs = weight.extent(0), inputs = weight.extent(1);
    const Index t = item / outputs, n = item % outputs;
    const In* const x = e.data() + t * e.stride(0);
    const W* const w = weight.data() + n * weight.stride(0);
    auto sum = lanes.all(0);
    for (Index m = 0; m < inputs; m += lanes.width)
      sum += lanes.load(x + m, inputs - m) * lanes.load(w + m, inputs - m);
    const float whole = lanes.sum(sum) + (bias.size() != 0 ? bias(n) : 0.0f);
    lanes.store(out.data() + t * out.stride(0) + n, lanes.all(whole), 1);
  }
};

/// Plain weights of type W over rows of type In to keys and values of type Out: a token has the
/// same bits in any batch. Holds views.
template <Element W, Element In = W, Element Out = In>
class DeviceReferenceProjection {
 public:
  using input_type = In;
  using output_type = Out;
  static constexpr bool batch_invariant = true;

  /// weight  [(G + 1) D, M], the keys of the branches in order, then the value; memory of the GPU,
  ///         row stride free.
  /// bias    [(G + 1) D], or empty.
  ///
  /// Fails with shape_mismatch.
  static Result<DeviceReferenceProjection> make(DeviceView<const W, 2> weight,
                                                DeviceView<const float, 1> bias, Index branches) {
    const Index outputs = weight.extent(0);
    if (branches < 1 || outputs < 1 || weight.extent(1) < 1 || outputs % (branches + 1) != 0)
      return fail(Code::shape_mismatch, {"projection: weights [", outputs, ", ", weight.extent(1),
                                         "], expected [(", branches, " + 1) D, M]"});
    if (weight.stride(0) < weight.extent(1))
      return fail(Code::shape_mismatch,
                  {"projection: rows of weights are ", weight.stride(0),
                   " elements apart, expected at least ", weight.extent(1)},
                  weight.extent(1));
    if (bias.size() != 0 && bias.extent(0) != outputs)
      return fail(Code::shape_mismatch,
                  {"projection: a bias of ", bias.extent(0), ", expected ", outputs}, outputs);
    return DeviceReferenceProjection(weight, bias, branches);
  }

  Index input_width() const noexcept { return weight_.extent(1); }
  Index output_width() const noexcept { return weight_.extent(0) / (branches_ + 1); }
  Index branches() const noexcept { return branches_; }
  Index workspace_bytes() const noexcept { return 0; }

  /// e         [T, M], token stride free.
  /// segments  [T, G + 1, D] written, dense.
  /// Status    shape_mismatch (index: the extent or stride expected); then nothing was launched.
  /// Cost      one launch, which reads the weights once for each token. Can be captured.
  template <KernelDevice Dev>
  ENGRAM_HIDDEN Status project(const Dev& device, DeviceView<const In, 2> e,
                               DeviceView<Out, 3> segments,
                               DeviceView<std::byte, 1> = {}) const noexcept {
    const ProjectionShape shape{input_width(), output_width(), branches_};
    if (Status s = check_projection_call(shape, e, segments); !s.ok()) return s;
    const Index tokens = e.extent(0), outputs = weight_.extent(0);
    device.for_items(tokens * outputs,
                     OutputBody<W, In, Out>{e.for_body(), weight_.for_body(), bias_.for_body(),
                                            View<Out, 2>(segments.data(), tokens, outputs)});
    return {};
  }

 private:
  DeviceReferenceProjection(DeviceView<const W, 2> weight, DeviceView<const float, 1> bias,
                            Index branches)
      : weight_(weight), bias_(bias), branches_(branches) {}

  DeviceView<const W, 2> weight_;
  DeviceView<const float, 1> bias_;
  Index branches_;
};

ENGRAM_END_NAMESPACE
