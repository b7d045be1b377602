// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Turns a fault in a mapped file into a status. When a disk fails, or somebody shortens a file that
// is mapped, the process gets SIGBUS where it reads and dies. Signal handlers belong to the
// program, so no header of the library installs one: a program that wants to live on creates a
// SigbusGuard, and reads that go through guarded_read() then fail instead.

#include <engram/core/status.hpp>

#if __has_include(<sys/mman.h>)
#include <cerrno>
#include <csetjmp>
#include <csignal>
#endif

ENGRAM_BEGIN_NAMESPACE

#if __has_include(<sys/mman.h>)

/// The process's guards, and what they found installed.
struct SigbusState {
  int guards = 0;
  int busy = 0;  ///< a guard is being created or destroyed
  /// The handler that is in place, or in the chain of one installed later; null: none.
  void (*handler)(int, siginfo_t*, void*) = nullptr;
  struct sigaction old {};
};
inline constinit SigbusState sigbus_state;

/// Where this thread goes on after a fault; null outside of a guarded read.
inline constinit thread_local sigjmp_buf* sigbus_target = nullptr;

ENGRAM_BEGIN_LOOPS

/// Does what would have happened without a guard.
inline void pass_on_sigbus(int number, siginfo_t* info, void* context, bool is_fault) {
  const struct sigaction old = sigbus_state.old;
  const bool takes_info = (old.sa_flags & SA_SIGINFO) != 0;
  if (!takes_info && old.sa_handler == SIG_IGN && !is_fault) return;
  if (!takes_info && (old.sa_handler == SIG_IGN || old.sa_handler == SIG_DFL)) {
    // The faulting instruction runs again and ends the process, as a fault does even if ignored.
    ::sigaction(number, &old, nullptr);
    if (!is_fault) ::raise(number);
    return;
  }
  if ((old.sa_flags & static_cast<int>(SA_RESETHAND)) != 0) {
    struct sigaction none {};
    none.sa_handler = SIG_DFL;
    ::sigaction(number, &none, nullptr);
  }
  sigset_t mask = old.sa_mask;
  if ((old.sa_flags & SA_NODEFER) == 0) ::sigaddset(&mask, number);
  ::pthread_sigmask(SIG_BLOCK, &mask, nullptr);  // undone by the return from this handler
  if (takes_info)
    old.sa_sigaction(number, info, context);
  else
    old.sa_handler(number);
}

/// The handler. A fault arrives in the thread that made it; a signal that somebody sent, or the
/// news of a bad page elsewhere, arrives anywhere and is no failed read.
inline void on_sigbus(int number, siginfo_t* info, void* context) {
  bool is_fault = info->si_code > 0;
#if defined(BUS_MCEERR_AO)
  is_fault = is_fault && info->si_code != BUS_MCEERR_AO;
#endif
  if (is_fault && sigbus_target != nullptr) {
    // What is blocked in here would stay so: a handler on top of this one may block signals.
    ::pthread_sigmask(SIG_SETMASK, &static_cast<const ucontext_t*>(context)->uc_sigmask, nullptr);
    ::siglongjmp(*sigbus_target, 1);
  }
  const int error = errno;
  pass_on_sigbus(number, info, context, is_fault);
  errno = error;
}

ENGRAM_END_LOOPS

/// While one exists, SIGBUS inside of guarded_read() is a status. Any other SIGBUS goes to the
/// handler that was installed before, with its mask and flags, or ends the process as before.
///
/// For a program's main(): create it before the reads and let it live as long as they run. The
/// handler is the process's, so one guard serves every thread; more may exist, in any thread, and
/// the last to go puts the old handler back. A handler installed later must chain to this one.
/// Shared libraries built with hidden visibility have guards, and need them, each for itself.
class SigbusGuard {
 public:
  ENGRAM_ALWAYS_INLINE SigbusGuard() noexcept {
    lock();
    if (sigbus_state.handler == nullptr) {
      // First read what is there, then replace it: a fault in between must find it.
      ::sigaction(SIGBUS, nullptr, &sigbus_state.old);
      struct sigaction action {};
      action.sa_sigaction = on_sigbus;
      action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
      ::sigaction(SIGBUS, &action, nullptr);
      sigbus_state.handler = on_sigbus;
    }
    __atomic_add_fetch(&sigbus_state.guards, 1, __ATOMIC_RELEASE);
    unlock();
  }
  ENGRAM_ALWAYS_INLINE ~SigbusGuard() {
    lock();
    if (__atomic_sub_fetch(&sigbus_state.guards, 1, __ATOMIC_ACQ_REL) == 0) {
      struct sigaction now {};
      ::sigaction(SIGBUS, nullptr, &now);
      // Another handler on top of this one stays, and may go on calling it.
      if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == sigbus_state.handler) {
        ::sigaction(SIGBUS, &sigbus_state.old, nullptr);
        sigbus_state.handler = nullptr;
      }
    }
    unlock();
  }
  SigbusGuard(const SigbusGuard&) = delete;
  SigbusGuard& operator=(const SigbusGuard&) = delete;

 private:
  static void lock() noexcept {
    while (__atomic_exchange_n(&sigbus_state.busy, 1, __ATOMIC_ACQUIRE) != 0) {
    }
  }
  static void unlock() noexcept { __atomic_store_n(&sigbus_state.busy, 0, __ATOMIC_RELEASE); }
};

ENGRAM_BEGIN_LOOPS

/// Apart from the function that can be returned to twice, whose registers are of little use.
template <class F>
[[gnu::noinline]] Status run_read(F& read) noexcept {
  return read();
}

template <class F>
[[gnu::noinline]] Status read_or_return(F& read) noexcept {
  sigjmp_buf here;
  sigjmp_buf* const outer = sigbus_target;
#if defined(__SSE__)
  // Linux starts a handler with default floating-point control; a jump out of it would keep that.
  const unsigned control = __builtin_ia32_stmxcsr();
#endif
  if (sigsetjmp(here, 0) != 0) {
    sigbus_target = outer;
#if defined(__SSE__)
    __builtin_ia32_ldmxcsr(control);
#endif
    return {Code::io, EFAULT, -1};
  }
  sigbus_target = &here;
  __asm__ volatile("" ::: "memory");  // no load of read() may move out of the guarded part
  const Status status = run_read(read);
  __asm__ volatile("" ::: "memory");
  sigbus_target = outer;
  return status;
}

/// Calls read(), which returns a Status; when a SigbusGuard exists anywhere in the process and
/// this thread faults in a mapping meanwhile, returns {io, EFAULT, -1} instead.
///
/// read()  is left in the middle of what it does: it must hold nothing that needs a destructor, no
///         lock, and nothing that other threads wait for (a barrier), and what it writes is partly
///         written after a fault. Must not throw. May itself use guarded_read().
/// Cost    without a guard one relaxed load; with one 7 ns (measured on an AMD EPYC, g++
///         -O2).  Threads  any, at the same time.
template <class F>
Status guarded_read(F&& read) noexcept {
  static_assert(std::is_same_v<decltype(read()), Status>, "engram: a guarded read returns Status");
  if (__atomic_load_n(&sigbus_state.guards, __ATOMIC_RELAXED) == 0) return read();
  return read_or_return(read);
}

ENGRAM_END_LOOPS

#else  // no POSIX signals: nothing is guarded

class SigbusGuard {
 public:
  SigbusGuard() noexcept {}
  ~SigbusGuard() {}
  SigbusGuard(const SigbusGuard&) = delete;
  SigbusGuard& operator=(const SigbusGuard&) = delete;
};

ENGRAM_BEGIN_LOOPS

template <class F>
Status guarded_read(F&& read) noexcept {
  static_assert(std::is_same_v<decltype(read()), Status>, "engram: a guarded read returns Status");
  return read();
}

ENGRAM_END_LOOPS

#endif

ENGRAM_END_NAMESPACE
