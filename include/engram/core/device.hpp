// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where the library's loops run. A device launches bodies and knows nothing of what they do: a
// body is a trivially copyable functor called as body(lanes, item) once for each item, in any
// order. Operations are bodies; a new operation never extends a device.

#include <engram/core/lanes.hpp>
#include <engram/core/share.hpp>
#include <engram/core/space.hpp>
#include <engram/core/status.hpp>

#include <type_traits>

ENGRAM_BEGIN_NAMESPACE

/// A body that only proves that a type launches bodies.
struct EmptyBody {
  template <class Lanes>
  ENGRAM_HD void operator()(const Lanes&, Index) const noexcept {}
};

/// What a device's wait() gives.
template <class R>
concept VoidOrStatus = std::same_as<R, void> || std::same_as<R, Status>;

/// A device: launches bodies over items, in memory of its space.
///
/// Semantics (docs/concepts.md): a later for_items sees what an earlier one wrote. agree(yes) is
/// true when every thread that makes the call says yes; they must all ask. wait() returns when
/// everything launched is done; a device whose work can fail on the way says how it went. Nothing
/// throws.
template <class D>
concept Device = std::is_trivially_copyable_v<D> && MemorySpace<typename D::space_type> &&
    requires(const D d, Index n) {
  { d.for_items(n, EmptyBody{}) } -> std::same_as<void>;
  { d.agree(true) } -> std::same_as<bool>;
  { d.wait() } -> VoidOrStatus;
};

/// One sentence for each operation that D lacks; true when D models Device.
template <class D>
constexpr bool check_device() {
  static_assert(std::is_trivially_copyable_v<D>, "engram: a Device must be trivially copyable");
  static_assert(
      requires { requires MemorySpace<typename D::space_type>; },
      "engram: a Device needs 'using space_type = ...', the memory that its bodies reach");
  static_assert(
      requires(const D d, Index n) {
        { d.for_items(n, EmptyBody{}) } -> std::same_as<void>;
      },
      "engram: a Device needs 'void for_items(Index n, body) const'");
  static_assert(
      requires(const D d) {
        { d.agree(true) } -> std::same_as<bool>;
      },
      "engram: a Device needs 'bool agree(bool yes) const'");
  static_assert(
      requires(const D d) {
        { d.wait() } -> VoidOrStatus;
      },
      "engram: a Device needs 'void wait() const' or 'Status wait() const'");
  return Device<D>;
}

ENGRAM_BEGIN_LOOPS

/// The instruction sets for which loops are compiled besides the one of the file's own flags.
enum class IsaLevel : int { compiled = 0, avx2 = 1, avx512 = 2 };

/// The best of them on this processor.
inline IsaLevel isa_level() noexcept {
#if ENGRAM_X86_TARGETS
  static const IsaLevel level =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
          ? IsaLevel::avx512
      : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? IsaLevel::avx2
                                                                        : IsaLevel::compiled;
  return level;
#else
  return IsaLevel::compiled;
#endif
}

#if ENGRAM_X86_TARGETS
template <class Body>
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma"))) void run_items_avx512(
    const Body& body, ItemRange items) noexcept {
  for (Index i = items.begin; i < items.end; ++i) body(HostLanes<64>(), i);
}
template <class Body>
__attribute__((target("avx2,fma"))) void run_items_avx2(const Body& body,
                                                        ItemRange items) noexcept {
  for (Index i = items.begin; i < items.end; ++i) body(HostLanes<32>(), i);
}
#endif

/// The body for each item of the range, on the calling thread, with the processor's widest vectors.
template <class Body>
void run_items(const Body& body, ItemRange items) noexcept {
#if ENGRAM_X86_TARGETS
  if (isa_level() == IsaLevel::avx512) return run_items_avx512(body, items);
  if (isa_level() == IsaLevel::avx2) return run_items_avx2(body, items);
#endif
  for (Index i = items.begin; i < items.end; ++i) body(HostLanes<16>(), i);
}

ENGRAM_END_LOOPS

/// The CPU: runs on the calling thread, or as one of the engine's threads that make the same call
/// together, each with its own share and all with one barrier. Results do not depend on the count.
struct CpuDevice {
  using space_type = HostSpace;

  Share share;
  Barrier* barrier = nullptr;  ///< needed when share.count > 1

  /// Whether the share is one of its group and the group has a barrier.
  bool valid() const noexcept {
    return share.index >= 0 && share.index < share.count &&
           (share.count == 1 || barrier != nullptr);
  }

  /// Runs this share's items after every thread has finished the call before.
  template <class Body>
  ENGRAM_ALWAYS_INLINE void for_items(Index n, const Body& body) const noexcept {
    wait();
    run_items(body, share.of(n));
  }
  ENGRAM_ALWAYS_INLINE bool agree(bool yes) const noexcept {
    if (share.count <= 1) return yes;
    return barrier != nullptr && barrier->agree(share.count, yes);
  }
  /// Returns when every thread of the group has arrived.
  ENGRAM_ALWAYS_INLINE void wait() const noexcept { (void)agree(true); }
};
static_assert(check_device<CpuDevice>());

ENGRAM_END_NAMESPACE
