// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every form of operator new and delete: where one is left out, a sanitizer's own answers for it,
// and its delete is not ours.
#include "counted_new.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> allocated{0};
std::atomic<bool> refuses{false};

void* counted(std::size_t bytes, std::size_t alignment) noexcept {
  if (refuses) return nullptr;
  allocated += bytes;
  const std::size_t whole = (bytes + alignment - 1) / alignment * alignment;
  return std::aligned_alloc(alignment, whole == 0 ? alignment : whole);
}
void* counted_or_throw(std::size_t bytes, std::size_t alignment) {
  if (void* const p = counted(bytes, alignment)) return p;
  throw std::bad_alloc();
}
constexpr std::size_t usual = __STDCPP_DEFAULT_NEW_ALIGNMENT__;
constexpr std::size_t of(std::align_val_t a) { return static_cast<std::size_t>(a); }

}  // namespace

std::size_t allocated_bytes() { return allocated; }
void refuse_allocations(bool refuse) { refuses = refuse; }

// clang-format off
void* operator new(std::size_t n) { return counted_or_throw(n, usual); }
void* operator new[](std::size_t n) { return counted_or_throw(n, usual); }
void* operator new(std::size_t n, std::align_val_t a) { return counted_or_throw(n, of(a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return counted_or_throw(n, of(a)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return counted(n, usual); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return counted(n, usual); }
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return counted(n, of(a)); }
void* operator new[](std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return counted(n, of(a)); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }
// clang-format on
