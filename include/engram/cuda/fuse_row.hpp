// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Norms, score, gate and residual of one token's branch by the threads of a block: key, value and
// hidden state are read once, 16 bytes a thread, and stay in registers until the new hidden state
// is written. The formulas are those of ScoreBody and UpdateBody (gating/fuse.hpp); sums are taken
// in another order, and so differ in their last bits.

#include <engram/cuda/streaming.hpp>
#include <engram/gating/fuse.hpp>

ENGRAM_BEGIN_NAMESPACE

/// 16 bytes of elements.
template <Element T>
struct alignas(16) Sixteen {
  static constexpr int count = 16 / static_cast<int>(sizeof(T));
  std::uint32_t words[4] = {};

  ENGRAM_HD ENGRAM_ALWAYS_INLINE float get(int i) const noexcept {
    if constexpr (std::is_same_v<T, float>)
      return from_bits(words[i]);
    else
      return to_float(T{static_cast<std::uint16_t>(words[i / 2] >> (i % 2 * 16))});
  }
  /// Elements i and i + 1, i even. A GPU's NaN has bits of its own.
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void set_pair(int i, float x, float y) noexcept {
    if constexpr (std::is_same_v<T, float>) {
      words[i] = to_bits(x);
      words[i + 1] = to_bits(y);
    } else {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
      if constexpr (std::is_same_v<T, Bf16>) {
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(words[i / 2]) : "f"(y), "f"(x));
        return;
      }
#endif
      words[i / 2] = from_float<T>(x).bits | std::uint32_t{from_float<T>(y).bits} << 16;
    }
  }
};

/// Reads 16 bytes that pass through once, and leave the nearest cache to what is read again: the
/// gain, by every token. Unlike read_once() of what this kernel may write, as a call in place does.
template <Element T>
ENGRAM_HD ENGRAM_ALWAYS_INLINE Sixteen<T> read_passing(const Sixteen<T>* at) noexcept {
#if defined(__CUDA_ARCH__)
  const uint4 v = __ldcs(reinterpret_cast<const uint4*>(at));
  return {{v.x, v.y, v.z, v.w}};
#else
  return *at;
#endif
}

/// What a call of fuse() has; see there. Views of memory that the threads reach.
template <Element T, class GateFunction, class Row>
struct FuseCall {
  View<const T, 3> keys;
  View<const T, 2> value;
  View<const T, 3> hidden;
  View<T, 3> out;
  View<const float, 2> gain;
  View<const Mark, 1> marks;
  View<const float, 1> scale;
  View<const Row, 2> rows;
  View<float, 2> scores, norms, gates;
  View<Part, 1> parts;
  float query_eps, key_eps;
  bool add_residual;
  GateFunction gate;
};

/// Whether every row begins at a multiple of 16 bytes and is one.
template <class T, class G, class Row>
bool fits_sixteen(const FuseCall<T, G, Row>& call) noexcept {
  std::uintptr_t at = static_cast<std::uintptr_t>(call.out.extent(2)) * sizeof(T);
  const auto add = [&at](const auto& view, int strides) {
    using Element = std::remove_cvref_t<decltype(*view.data())>;
    at |= reinterpret_cast<std::uintptr_t>(view.data());
    for (int r = 0; r < strides; ++r)
      at |= static_cast<std::uintptr_t>(view.stride(r)) * sizeof(Element);
  };
  add(call.keys, 2);
  add(call.value, 1);
  add(call.hidden, 2);
  add(call.out, 2);
  if (call.gain.size() != 0) add(call.gain, 1);
  return at % 16 == 0;
}

/// What the threads of a block share.
struct FuseShared {
  static constexpr int warps = 4;
  float sums[3][warps];
};

/// Item t * G + g. Hold: at least width / (16 bytes of elements) / Block::threads, rounded up.
///
/// Block: `int thread()`; `static constexpr int threads`, four warps; `void sync()`;
/// `float from_lane_xor(float, int mask)`, of another thread of the warp.
template <int Hold, class Block, class T, class G, class Row>
ENGRAM_HD void fuse_row(const Block& block, FuseShared& shared, const FuseCall<T, G, Row>& call,
                        Index item) noexcept {
  static_assert(Block::threads == 32 * FuseShared::warps);
  using Vector = Sixteen<T>;
  const Index t = item / call.out.extent(1);
  const Index g = item % call.out.extent(1);
  const Index width = call.out.extent(2);
  const auto vectors = static_cast<int>(width / Vector::count);
  const int thread = block.thread();
  const auto* const hidden = reinterpret_cast<const Vector*>(row_of(call.hidden, t, g));
  auto* const out = reinterpret_cast<Vector*>(row_of(call.out, t, g));
  const bool knocked_out = call.scale.size() != 0 && call.scale(t) == 0;
  const Part part = part_of(call.marks.size() == 0 ? Mark::token : call.marks(t),
                            call.rows.size() != 0 && call.rows(t, 0) == -1, knocked_out);

  Vector h[Hold], v[Hold];
  ENGRAM_CUDA_UNROLL
  for (int i = 0; i < Hold; ++i)
    if (const int at = thread + i * Block::threads; at < vectors) h[i] = read_passing(hidden + at);
  float gate = 0, score = 0;
  if (part == Part::full || part == Part::muted) {
    const auto* const keys = reinterpret_cast<const Vector*>(row_of(call.keys, t, g));
    const auto* const value =
        reinterpret_cast<const Vector*>(call.value.data() + t * call.value.stride(0));
    const auto* const gain = reinterpret_cast<const Sixteen<float>*>(
        call.gain.size() != 0 ? call.gain.data() + g * call.gain.stride(0) : nullptr);
    Vector k[Hold];
    ENGRAM_CUDA_UNROLL
    for (int i = 0; i < Hold; ++i)
      if (const int at = thread + i * Block::threads; at < vectors) {
        k[i] = read_passing(keys + at);
        v[i] = value[at];
      }
    constexpr int quarters = Vector::count / 4;
    Sixteen<float> weights[quarters], next[quarters];
    const auto read_gain = [&](int i) {
      const int at = thread + i * Block::threads;
      ENGRAM_CUDA_UNROLL
      for (int j = 0; j < quarters; ++j)
        if (gain != nullptr && at < vectors) next[j] = gain[at * quarters + j];
    };
    float sums[3] = {0, 0, 0};  // of h^2, k^2 and h gain k
    read_gain(0);
    ENGRAM_CUDA_UNROLL
    for (int i = 0; i < Hold; ++i) {
      ENGRAM_CUDA_UNROLL
      for (int j = 0; j < quarters; ++j) weights[j] = next[j];
      if (i + 1 < Hold) read_gain(i + 1);
      if (thread + i * Block::threads >= vectors) continue;
      ENGRAM_CUDA_UNROLL
      for (int e = 0; e < Vector::count; ++e) {
        const float x = h[i].get(e), y = k[i].get(e);
        sums[0] += x * x;
        sums[1] += y * y;
        sums[2] += (gain != nullptr ? x * weights[e / 4].get(e % 4) : x) * y;
      }
    }
    ENGRAM_CUDA_UNROLL
    for (int s = 0; s < 3; ++s) {
      ENGRAM_CUDA_UNROLL
      for (int half = 16; half > 0; half /= 2) sums[s] += block.from_lane_xor(sums[s], half);
      if (thread % 32 == 0) shared.sums[s][thread / 32] = sums[s];
    }
    block.sync();
    ENGRAM_CUDA_UNROLL
    for (int s = 0; s < 3; ++s)
      sums[s] = (shared.sums[s][0] + shared.sums[s][2]) + (shared.sums[s][1] + shared.sums[s][3]);
    block.sync();  // before the next item writes there
    const float n = static_cast<float>(width);
    const float r = (1.0f / square_root(sums[0] / n + call.query_eps)) *
                    (1.0f / square_root(sums[1] / n + call.key_eps));
    score = sums[2] * r * (1.0f / square_root(n));
    gate = part == Part::muted ? 0.0f
                               : call.gate(score) * (call.scale.size() != 0 ? call.scale(t) : 1.0f);
  }

  float squares = 0;
  ENGRAM_CUDA_UNROLL
  for (int i = 0; i < Hold; ++i) {
    const int at = thread + i * Block::threads;
    if (at >= vectors) continue;
    Vector o = h[i];
    if (part == Part::full) {
      ENGRAM_CUDA_UNROLL
      for (int e = 0; e < Vector::count; e += 2) {
        float x[2];
        ENGRAM_CUDA_UNROLL
        for (int j = 0; j < 2; ++j) {
          const float memory = gate * v[i].get(e + j);
          squares += memory * memory;
          x[j] = call.add_residual ? h[i].get(e + j) + memory : memory;
        }
        o.set_pair(e, x[0], x[1]);
      }
    } else if (!call.add_residual) {
      o = Vector();
    }
    write_once(reinterpret_cast<std::byte*>(out + at),
               {{o.words[0], o.words[1], o.words[2], o.words[3]}});
  }
  if (call.norms.size() != 0) {
    ENGRAM_CUDA_UNROLL
    for (int half = 16; half > 0; half /= 2) squares += block.from_lane_xor(squares, half);
    if (thread % 32 == 0) shared.sums[0][thread / 32] = squares;
    block.sync();
    squares = (shared.sums[0][0] + shared.sums[0][2]) + (shared.sums[0][1] + shared.sums[0][3]);
    block.sync();
  }
  if (thread != 0) return;
  call.gates(t, g) = gate;
  if (call.scores.size() != 0) call.scores(t, g) = score;
  if (call.norms.size() != 0) call.norms(t, g) = square_root(squares);
  if (g == 0) call.parts(t) = part;
}

ENGRAM_END_NAMESPACE
