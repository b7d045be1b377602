// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <catch.hpp>
#include <engram/storage/mmap_store.hpp>
#include <engram/storage/sigbus_guard.hpp>

using namespace engram;

TEST_CASE("sigbus guard: a read without a fault gives its own status") {
  const Status other{Code::bad_row, 0, 7};
  int calls = 0;
  const auto read = [&] {
    ++calls;
    return other;
  };
  CHECK(guarded_read(read) == other);
  const SigbusGuard guard;
  CHECK(guarded_read(read) == other);
  CHECK(guarded_read([] { return Status(); }).ok());
  CHECK(calls == 2);
}

#if __has_include(<sys/mman.h>)

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace fs = std::filesystem;

namespace {

constexpr Index rows = 64;
constexpr Index row_bytes = 4096;

// A mapped file of 64 pages of the digit 1, cut off on request.
struct Shrinking {
  std::string path;
  std::unique_ptr<MmapStore> store;
  explicit Shrinking(const std::string& name)
      : path((fs::path(ENGRAM_SCRATCH_DIR) / ("sigbus_guard_test_" + name)).string()) {
    fs::create_directories(ENGRAM_SCRATCH_DIR);
    std::ofstream(path, std::ios::binary) << std::string(rows * row_bytes, '1');
    store = std::make_unique<MmapStore>(
        MmapStore::open({{{path, -1, 0, rows, row_bytes, row_bytes}, {}}}).value());
  }
  ~Shrinking() { fs::remove(path); }
  Shrinking(const Shrinking&) = delete;
  Shrinking& operator=(const Shrinking&) = delete;
  void cut() { fs::resize_file(path, 0); }

  // Adds up the rows' first bytes into sum, one by one.
  Status read(Index& sum) const noexcept {
    const auto ref = store->ref();
    for (Index r = 0; r < rows; ++r) sum += static_cast<Index>(*ref(r).codes) - '0';
    return {};
  }
  // Touches one row without any guard.
  void touch() const noexcept {
    const volatile std::byte* at = store->ref()(0).codes;
    (void)*at;
  }
};

const Status fault{Code::io, EFAULT, -1};

struct sigaction current_action() {
  struct sigaction action {};
  ::sigaction(SIGBUS, nullptr, &action);
  return action;
}

void install(void (*handler)(int), int flags = 0) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigaction(SIGBUS, &action, nullptr);
}

// How a child process ends that runs `body`: its exit status, or minus the signal.
template <class Body>
int outcome_of(const Body& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);  // a fault that repeats for ever is a failure too
    body();
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void exit_42(int) { ::_exit(42); }
void exit_43_with_address(int, siginfo_t* info, void*) {
  ::_exit(info->si_addr != nullptr ? 43 : 44);
}
volatile std::sig_atomic_t seen = 0;
void count_it(int) { seen = seen + 1; }
// The mask that a handler runs under, as it was asked for.
void exit_with_mask(int) {
  sigset_t mask{};
  ::sigprocmask(SIG_BLOCK, nullptr, &mask);
  const bool right = ::sigismember(&mask, SIGBUS) == 1 && ::sigismember(&mask, SIGUSR1) == 1 &&
                     ::sigismember(&mask, SIGUSR2) == 0;
  ::_exit(right ? 45 : 46);
}

}  // namespace

TEST_CASE("sigbus guard: a file that is cut off while it is mapped gives a status") {
  Shrinking file("cut");
  const SigbusGuard guard;
  Index sum = 0;
  CHECK(guarded_read([&] { return file.read(sum); }).ok());
  CHECK(sum == rows);
  file.cut();
  for (int again = 0; again < 100; ++again) {
    sum = 0;
    if (guarded_read([&] { return file.read(sum); }) != fault) FAIL("try " << again);
  }
  // The signal is not left blocked, and a file of its length reads as before.
  sigset_t mask{};
  ::sigprocmask(SIG_BLOCK, nullptr, &mask);
  CHECK(::sigismember(&mask, SIGBUS) == 0);
  Shrinking whole("cut_2");
  sum = 0;
  CHECK(guarded_read([&] { return whole.read(sum); }).ok());
  CHECK(sum == rows);
}

TEST_CASE("sigbus guard: what was read before the fault stays written") {
  Shrinking file("partly");
  const SigbusGuard guard;
  fs::resize_file(file.path, 10 * row_bytes);
  std::vector<std::byte> out(rows, std::byte{0});
  const auto ref = file.store->ref();
  const Status status = guarded_read([&] {
    for (Index r = 0; r < rows; ++r) {
      const volatile std::byte* at = ref(r).codes;
      out[static_cast<std::size_t>(r)] = *at;
    }
    return Status();
  });
  CHECK(status == fault);
  CHECK(out[0] == std::byte{'1'});
  CHECK(out[9] == std::byte{'1'});
  CHECK(out[10] == std::byte{0});
}

TEST_CASE("sigbus guard: the last guard puts back what was there") {
  const struct sigaction before = current_action();
  // The system's own flags aside, which appear once an action was set at all.
  const auto flags = [](const struct sigaction& action) {
    return static_cast<unsigned>(action.sa_flags) &
           static_cast<unsigned>(SA_SIGINFO | SA_NODEFER | SA_ONSTACK | SA_RESTART | SA_RESETHAND);
  };
  const auto same = [&] {
    return current_action().sa_handler == before.sa_handler &&
           flags(current_action()) == flags(before);
  };
  {
    const SigbusGuard outer;
    CHECK_FALSE(same());
    {
      const SigbusGuard inner;
      CHECK_FALSE(same());
    }
    CHECK_FALSE(same());
    Shrinking file("nested");
    file.cut();
    Index sum = 0;
    CHECK(guarded_read([&] { return file.read(sum); }) == fault);
  }
  CHECK(same());
  {
    const SigbusGuard again;
    CHECK_FALSE(same());
  }
  CHECK(same());
}

TEST_CASE("sigbus guard: a handler installed on top stays, and later guards find their way") {
  // In a child, because handlers that lie across each other cannot be taken apart again.
  Shrinking file("on_top");
  file.cut();
  const int outcome = outcome_of([&] {
    install(SIG_DFL);
    Index sum = 0;
    auto first = std::make_unique<SigbusGuard>();
    static struct sigaction below;
    struct sigaction chaining {};
    chaining.sa_sigaction = [](int number, siginfo_t* info, void* context) {
      seen = seen + 1;
      below.sa_sigaction(number, info, context);
    };
    chaining.sa_flags = SA_SIGINFO;  // blocks the signal: a jump out of it must undo that
    ::sigaction(SIGBUS, &chaining, &below);
    if (guarded_read([&] { return file.read(sum); }) != fault || seen != 1) ::_exit(1);
    first.reset();
    if (current_action().sa_sigaction != chaining.sa_sigaction) ::_exit(2);
    const SigbusGuard second;
    if (current_action().sa_sigaction != chaining.sa_sigaction) ::_exit(3);
    if (guarded_read([&] { return file.read(sum); }) != fault || seen != 2) ::_exit(4);
    file.touch();  // through both to the default
    ::_exit(5);
  });
  CHECK(outcome == -SIGBUS);
}

TEST_CASE("sigbus guard: a guarded read inside of another") {
  Shrinking file("inside");
  const SigbusGuard guard;
  file.cut();
  Index sum = 0;
  Status inner;
  int behind = 0;
  // The inner fault ends the inner read only.
  CHECK(guarded_read([&] {
          inner = guarded_read([&] { return file.read(sum); });
          ++behind;
          return Status();
        }).ok());
  CHECK(inner == fault);
  CHECK(behind == 1);
  // Behind an inner read, with or without a fault in it, the outer one is guarded again.
  CHECK(guarded_read([&] {
          inner = guarded_read([&] { return file.read(sum); });
          return file.read(sum);
        }) == fault);
  CHECK(guarded_read([&] {
          inner = guarded_read([] { return Status(); });
          return file.read(sum);
        }) == fault);
}

TEST_CASE("sigbus guard: a fault outside of a guarded read goes where it went before") {
  Shrinking file("outside");
  file.cut();
  SECTION("a plain handler") {
    CHECK(outcome_of([&] {
            install(exit_42);
            const SigbusGuard guard;
            file.touch();
          }) == 42);
  }
  SECTION("a plain handler, also after a guarded read") {
    CHECK(outcome_of([&] {
            install(exit_42);
            const SigbusGuard guard;
            Index sum = 0;
            if (guarded_read([&] { return file.read(sum); }) != fault) ::_exit(1);
            file.touch();
          }) == 42);
  }
  SECTION("a handler that wants the address") {
    CHECK(outcome_of([&] {
            struct sigaction action {};
            action.sa_sigaction = exit_43_with_address;
            action.sa_flags = SA_SIGINFO;
            ::sigaction(SIGBUS, &action, nullptr);
            const SigbusGuard guard;
            file.touch();
          }) == 43);
  }
  SECTION("a handler with a mask") {
    CHECK(outcome_of([&] {
            struct sigaction action {};
            action.sa_handler = exit_with_mask;
            ::sigaddset(&action.sa_mask, SIGUSR1);
            ::sigaction(SIGBUS, &action, nullptr);
            const SigbusGuard guard;
            file.touch();
          }) == 45);
  }
  SECTION("a handler that wants one call, returns, and leaves the rest to the default") {
    CHECK(outcome_of([&] {
            install(count_it, static_cast<int>(SA_RESETHAND));
            const SigbusGuard guard;
            file.touch();
          }) == -SIGBUS);
  }
  SECTION("the default") {
    CHECK(outcome_of([&] {
            install(SIG_DFL);
            const SigbusGuard guard;
            file.touch();
          }) == -SIGBUS);
  }
  SECTION("ignored: a fault ends the process all the same") {
    CHECK(outcome_of([&] {
            install(SIG_IGN);
            const SigbusGuard guard;
            file.touch();
          }) == -SIGBUS);
  }
  SECTION("after the last guard") {
    CHECK(outcome_of([&] {
            install(exit_42);
            { const SigbusGuard guard; }
            Index sum = 0;
            (void)guarded_read([&] { return file.read(sum); });
          }) == 42);
  }
}

TEST_CASE("sigbus guard: a signal that somebody sends is no failed read") {
  Shrinking file("sent");
  SECTION("a handler gets it, and the read goes on") {
    CHECK(outcome_of([&] {
            install(count_it);
            const SigbusGuard guard;
            Index sum = 0;
            const Status status = guarded_read([&] {
              ::raise(SIGBUS);
              return file.read(sum);
            });
            ::_exit(status.ok() && seen == 1 && sum == rows ? 7 : 8);
          }) == 7);
  }
  SECTION("the default ends the process") {
    CHECK(outcome_of([&] {
            install(SIG_DFL);
            const SigbusGuard guard;
            ::raise(SIGBUS);
          }) == -SIGBUS);
  }
  SECTION("ignored, it is ignored") {
    CHECK(outcome_of([&] {
            install(SIG_IGN);
            const SigbusGuard guard;
            ::raise(SIGBUS);
            ::_exit(9);
          }) == 9);
  }
}

TEST_CASE("sigbus guard: a fault in one thread does not disturb another") {
  Shrinking bad("thread_bad");
  Shrinking good("thread_good");
  const SigbusGuard guard;
  bad.cut();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int again = 0; again < 200; ++again) {
        Index sum = 0;
        const bool fails = t % 2 == 0;
        const Shrinking& file = fails ? bad : good;
        const Status status = guarded_read([&] { return file.read(sum); });
        if (fails ? status != fault : !status.ok() || sum != rows) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("sigbus guard: guards come and go in many threads") {
  const struct sigaction before = current_action();
  Shrinking file("many");
  file.cut();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int again = 0; again < 200; ++again) {
        const SigbusGuard guard;
        Index sum = 0;
        if (guarded_read([&] { return file.read(sum); }) != fault) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(current_action().sa_handler == before.sa_handler);
}

#if defined(__SSE__)
TEST_CASE("sigbus guard: a fault leaves the floating-point control as it was") {
  Shrinking file("control");
  file.cut();
  const SigbusGuard guard;
  const unsigned before = _mm_getcsr();
  const unsigned flush = (before & ~0x3fU) | 0x8040U;  // flush to zero, denormals are zero
  _mm_setcsr(flush);
  Index sum = 0;
  const Status status = guarded_read([&] { return file.read(sum); });
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  CHECK(status == fault);
  CHECK((after & ~0x3fU) == (flush & ~0x3fU));
}
#endif

#endif
