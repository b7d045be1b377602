// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <catch.hpp>
#include <contains.hpp>
#include <engram/storage/host_store.hpp>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

using namespace engram;

namespace {

constexpr Index mib = Index{1} << 20;

// What the system says of pages of that size that are set aside; 0 where it says nothing.
long reserved_pages(Pages pages, const char* which) {
  long count = 0;
  std::ifstream("/sys/kernel/mm/hugepages/hugepages-" +
                std::to_string(page_bytes_of(pages) / 1024) + "kB/" + which) >>
      count;
  return count;
}

void fill(HostMemory& memory) {
  for (Index i = 0; i < memory.size(); ++i) memory.data()[i] = static_cast<std::byte>(i * 7 + 1);
}

bool is_filled(const HostMemory& memory) {
  for (Index i = 0; i < memory.size(); ++i)
    if (memory.data()[i] != static_cast<std::byte>(i * 7 + 1)) return false;
  return true;
}

bool is_zero(const HostMemory& memory) {
  for (Index i = 0; i < memory.size(); ++i)
    if (memory.data()[i] != std::byte{0}) return false;
  return true;
}

}  // namespace

TEST_CASE("placement: every wish and its refusal is in the report's sentence") {
  HostMemoryReport report;
  report.bytes = 100;
  CHECK(describe(report) == "100 bytes of host memory: what pages they are on is not known");
  report.resident_bytes = 3 * mib;
  report.huge_bytes = 2 * mib;
  report.page_bytes = 4096;
  report.asked = {Pages::reserved_1g, 1, true};
  CHECK(contains(describe(report), "reserved pages of 1 GiB not obtained: the memory is smaller"));
  report.pages = Pages::huge;
  report.pages_error = ENOMEM;
  report.node_error = EINVAL;
  report.shared_error = EPERM;
  report.node = 0;
  report.sampled_pages = 9;
  report.pages_on_node = 8;
  CHECK(describe(report) ==
        sentence({"100 bytes of host memory: 3145728 touched, of these 2097152 on pages of 2 MiB; "
                  "other pages have 4096 bytes; reserved pages of 1 GiB not obtained: ",
                  std::strerror(ENOMEM), "; node 1 not obtained: ", std::strerror(EINVAL),
                  "; node 0: 8 of 9 sampled pages; sharing not obtained: ", std::strerror(EPERM)}));
  report.pages = Pages::reserved_1g;
  report.node_error = report.shared_error = 0;
  report.shared = true;
  CHECK(contains(describe(report), "2097152 on reserved pages of 1 GiB"));
  CHECK(contains(describe(report), "node 1: 8 of 9"));
  CHECK(contains(describe(report), "; shared with other processes"));
  CHECK_FALSE(contains(describe(report), "not obtained"));
}

TEST_CASE("host memory: wishes that cannot be meant are refused by name") {
  for (const bool required : {false, true}) {
    const auto kind = HostMemory::make(10, {static_cast<Pages>(4), -1, false, required});
    CHECK(kind.status().code == Code::invalid_config);
    CHECK(contains(kind.message(), "kind 4"));
    CHECK(HostMemory::make(10, {static_cast<Pages>(-1)}).status().code == Code::invalid_config);
    const auto node = HostMemory::make(10, {Pages::huge, -2, false, required});
    CHECK(node.status().code == Code::invalid_config);
    CHECK(contains(node.message(), "node -2"));
  }
  for (const Pages pages : {Pages::reserved_2m, Pages::reserved_1g}) {
    const auto small = HostMemory::make(page_bytes_of(pages) - 1, {pages, -1, false, true});
    REQUIRE_FALSE(small.ok());
    INFO(small.message());
    CHECK(
        (small.status().code == Code::invalid_config || small.status().code == Code::unsupported));
  }
}

TEST_CASE("host memory: pages that nobody set aside fall back, or are refused where required") {
  for (const bool shared : {false, true})
    for (const Pages pages : {Pages::reserved_1g, Pages::reserved_2m}) {
      // More than is free: never obtained, and nothing of what others set aside is used up.
      const Index bytes =
          page_bytes_of(pages) * (reserved_pages(pages, "free_hugepages") + 1 +
                                  reserved_pages(pages, "nr_overcommit_hugepages")) +
          3;
      const auto strict = HostMemory::make(bytes, {pages, -1, shared, true});
      REQUIRE_FALSE(strict.ok());
      INFO(strict.message());
      CHECK((strict.status().code == Code::out_of_memory ||
             strict.status().code == Code::unsupported));
      if (strict.status().code == Code::out_of_memory) {
        CHECK(strict.status().index == bytes);
        CHECK(strict.status().system_error != 0);
        CHECK(contains(strict.message(), name_of(pages)));
        CHECK(contains(strict.message(), std::strerror(strict.status().system_error)));
      }
      HostMemory memory = HostMemory::make(bytes, {pages, -1, shared}).value();
      CHECK(memory.size() == bytes);
      memory.data()[bytes - 1] = std::byte{5};
      const HostMemoryReport report = memory.report();
      std::printf("%s\n", describe(report).c_str());
      CHECK(report.asked.pages == pages);
      CHECK(report.pages < pages);
      CHECK(report.pages_error != 0);
      CHECK(contains(describe(report), std::string(name_of(pages)) + " not obtained: "));
    }
}

TEST_CASE("host memory: pages that were set aside are obtained and touched at once") {
  for (const bool shared : {false, true})
    for (const Pages pages : {Pages::reserved_1g, Pages::reserved_2m}) {
      if (reserved_pages(pages, "free_hugepages") < 2) {
        std::printf("[skipped] fewer than two %s are free here\n", name_of(pages));
        continue;
      }
      const Index bytes = page_bytes_of(pages) + 5;
      auto made = HostMemory::make(bytes, {pages, -1, shared, true});
      if (!made.ok()) {
        std::printf("[skipped] %s\n", made.message().c_str());
        continue;
      }
      HostMemory memory = std::move(made).value();
      const HostMemoryReport report = memory.report();
      std::printf("%s\n", describe(report).c_str());
      CHECK(report.pages == pages);
      CHECK(report.resident_bytes == 2 * page_bytes_of(pages));
      CHECK(report.huge_bytes == report.resident_bytes);
      CHECK(memory.data()[bytes - 1] == std::byte{0});
      memory.data()[bytes - 1] = std::byte{1};
      if (shared) {
        const HostMemory other = HostMemory::of_descriptor(memory.descriptor(), bytes).value();
        CHECK(other.data()[bytes - 1] == std::byte{1});
      }
    }
}

TEST_CASE("host memory: pages come from the node asked for") {
  for (const Pages pages : {Pages::ordinary, Pages::huge})
    for (const bool shared : {false, true}) {
      HostMemory memory = HostMemory::make(5 * mib + 1, {pages, 0, shared}).value();
      fill(memory);
      const HostMemoryReport report = memory.report();
      std::printf("%s\n", describe(report).c_str());
      CHECK(report.asked.node == 0);
      CHECK(is_filled(memory));
      if (report.node_error != 0) {
        CHECK(contains(describe(report), "node 0 not obtained"));
        std::printf("[skipped] this system binds no memory\n");
        continue;
      }
      if (report.sampled_pages == 0) {
        std::printf("[skipped] this system does not say where pages are\n");
        continue;
      }
      CHECK(report.node == 0);
      CHECK(report.pages_on_node == report.sampled_pages);
      CHECK(HostMemory::make(5 * mib, {pages, 0, shared, true}).ok());
    }
}

TEST_CASE("host memory: a node that is not there is not obtained, or refused where required") {
  for (const int node : {1023, 1024, INT32_MAX}) {
    HostMemory memory = HostMemory::make(mib, {Pages::ordinary, node}).value();
    fill(memory);
    const HostMemoryReport report = memory.report();
    CHECK(report.node_error != 0);
    CHECK(contains(describe(report), sentence({"node ", node, " not obtained: "})));
    CHECK(report.pages_on_node == report.sampled_pages);  // all where they happen to be
    const auto strict = HostMemory::make(mib, {Pages::ordinary, node, false, true});
    REQUIRE_FALSE(strict.ok());
    CHECK(strict.status().code == Code::unsupported);
    CHECK((strict.status().index == node || strict.status().index == -1));
  }
}

TEST_CASE("host memory: untouched memory has no node yet") {
  const HostMemory memory = HostMemory::make(mib, {Pages::ordinary, 0}).value();
  CHECK(memory.report().sampled_pages == 0);
  CHECK(memory.report().node == -1);
}

TEST_CASE("host memory: what is not shared has no descriptor, what is not another's is writable") {
  HostMemory memory = HostMemory::make(100).value();
  CHECK(memory.descriptor() == -1);
  CHECK(memory.writable());
  CHECK_FALSE(memory.report().shared);
  CHECK(HostMemory().descriptor() == -1);
}

#if defined(__linux__)

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace {

// How a child process ends that runs `body`: its exit status, or minus the signal.
template <class Body>
int outcome_of(const Body& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    ::_exit(body());
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void send_descriptor(int socket, int descriptor) {
  char word = 'd';
  iovec part{&word, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(head), &descriptor, sizeof(int));
  REQUIRE(::sendmsg(socket, &message, 0) == 1);
}

int receive_descriptor(int socket) {
  char word = 0;
  iovec part{&word, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (::recvmsg(socket, &message, 0) != 1) return -1;
  const cmsghdr* const head = CMSG_FIRSTHDR(&message);
  int descriptor = -1;
  if (head != nullptr) std::memcpy(&descriptor, CMSG_DATA(head), sizeof(int));
  return descriptor;
}

bool refused(long result, int error) { return result == -1 && errno == error; }

}  // namespace

TEST_CASE("shared memory: zeroed, kept in a descriptor, as writable as any other") {
  for (const Pages pages : {Pages::ordinary, Pages::huge})
    for (const Index bytes : {Index{1}, Index{4097}, 5 * mib + 1}) {
      HostMemory memory = HostMemory::make(bytes, {pages, -1, true, true}).value();
      CHECK(memory.descriptor() >= 0);
      CHECK((::fcntl(memory.descriptor(), F_GETFD) & FD_CLOEXEC) != 0);
      CHECK(memory.writable());
      CHECK(is_zero(memory));
      fill(memory);
      const HostMemoryReport report = memory.report();
      CHECK(report.shared);
      CHECK(report.shared_error == 0);
      CHECK(report.resident_bytes >= bytes);
      CHECK(contains(describe(report), "shared with other processes"));
      const int descriptor = memory.descriptor();
      HostMemory moved = std::move(memory);
      CHECK(moved.descriptor() == descriptor);
      CHECK(memory.descriptor() == -1);
      const HostMemory other = HostMemory::of_descriptor(descriptor, bytes).value();
      moved = HostMemory();
      CHECK(refused(::fcntl(descriptor, F_GETFD), EBADF));  // closed with the memory
      CHECK(is_filled(other));                              // which lives on
    }
}

TEST_CASE("shared memory: a size that the system would not give is refused in a descriptor too") {
  for (const bool required : {false, true}) {
    const Index bytes = Index{1} << 50;
    const auto memory = HostMemory::make(bytes, {Pages::huge, -1, true, required});
    REQUIRE_FALSE(memory.ok());
    INFO(memory.message());
    CHECK(memory.status() == Status{Code::out_of_memory, ENOMEM, bytes});
  }
}

TEST_CASE("shared memory: nobody can shorten it or lengthen it or write to it elsewhere") {
  HostMemory memory = HostMemory::make(3 * 4096, {Pages::ordinary, -1, true, true}).value();
  const int descriptor = memory.descriptor();
  const auto every_attempt_fails = [descriptor] {
    if (!refused(::ftruncate(descriptor, 0), EPERM)) return 1;
    if (!refused(::ftruncate(descriptor, 4096), EPERM)) return 2;
    if (!refused(::ftruncate(descriptor, 1 << 20), EPERM)) return 3;
    void* const to_write = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    const bool sealed = (::fcntl(descriptor, F_GET_SEALS) & 16) != 0;  // F_SEAL_FUTURE_WRITE
    if (sealed && (to_write != MAP_FAILED || !refused(::pwrite(descriptor, "x", 1, 0), EPERM)))
      return 4;
    return 0;
  };
  CHECK(every_attempt_fails() == 0);
  CHECK(outcome_of(every_attempt_fails) == 0);
  CHECK(is_zero(memory));
  fill(memory);
  CHECK(is_filled(memory));
}

TEST_CASE("shared memory: a child process sees the bytes by an inherited descriptor and by name") {
  const Index bytes = 2 * mib + 77;
  HostMemory memory = HostMemory::make(bytes, {Pages::huge, -1, true, true}).value();
  fill(memory);
  const int descriptor = memory.descriptor();
  const std::string name = sentence({"/proc/", ::getpid(), "/fd/", descriptor});
  CHECK(outcome_of([&] {
          const auto other = HostMemory::of_descriptor(descriptor, bytes);
          return other.ok() && is_filled(other.value()) ? 0 : 1;
        }) == 0);
  CHECK(outcome_of([&] {
          ::close(descriptor);
          const int opened = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
          if (opened < 0) return 2;
          const auto other = HostMemory::of_descriptor(opened, bytes);
          ::close(opened);
          return other.ok() && is_filled(other.value()) ? 0 : 1;
        }) == 0);
}

TEST_CASE("shared memory: sent over a socket it shows what the maker writes later") {
  int sockets[2] = {-1, -1};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  const Index bytes = 100'000;
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    const int descriptor = receive_descriptor(sockets[1]);
    const auto other = HostMemory::of_descriptor(descriptor, bytes);
    if (!other.ok()) ::_exit(1);
    if (!is_zero(other.value())) ::_exit(2);
    char word = 'z';
    if (::write(sockets[1], &word, 1) != 1 || ::read(sockets[1], &word, 1) != 1) ::_exit(3);
    ::_exit(is_filled(other.value()) ? 0 : 4);
  }
  HostMemory memory = HostMemory::make(bytes, {Pages::ordinary, -1, true, true}).value();
  send_descriptor(sockets[0], memory.descriptor());
  char word = 0;
  CHECK(::read(sockets[0], &word, 1) == 1);
  fill(memory);
  CHECK(::write(sockets[0], &word, 1) == 1);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  ::close(sockets[0]);
  ::close(sockets[1]);
}

TEST_CASE("shared memory: another's memory gives no pointer to write to") {
  HostMemory memory = HostMemory::make(4096, {Pages::ordinary, -1, true, true}).value();
  fill(memory);
  HostMemory other = HostMemory::of_descriptor(memory.descriptor(), 4000).value();
  CHECK_FALSE(other.writable());
  CHECK(other.data() == nullptr);
  CHECK(other.bytes().size() == 0);
  CHECK(other.size() == 4000);
  CHECK(other.descriptor() == -1);
  CHECK(is_filled(std::as_const(other)));
  CHECK(other.report().shared);
  CHECK_FALSE(contains(describe(other.report()), "not obtained"));
}

TEST_CASE("shared memory: descriptors of anything else are refused by name") {
  const auto code_of = [](int descriptor, Index bytes, const char* words) {
    const auto memory = HostMemory::of_descriptor(descriptor, bytes);
    REQUIRE_FALSE(memory.ok());
    INFO(memory.message());
    CHECK(contains(memory.message(), words));
    return memory.status();
  };
  HostMemory memory = HostMemory::make(4096, {Pages::ordinary, -1, true, true}).value();
  CHECK(code_of(memory.descriptor(), 0, "0 bytes").code == Code::invalid_config);
  CHECK(code_of(memory.descriptor(), -5, "-5 bytes").code == Code::invalid_config);
  CHECK(code_of(memory.descriptor(), 4097, "4096 found") == Status{Code::corrupt, 0, 4096});
  CHECK(code_of(memory.descriptor(), INT64_MAX, "4096 found") == Status{Code::corrupt, 0, 4096});
  CHECK(code_of(-1, 4096, "descriptor -1") == Status{Code::io, EBADF, -1});
  const int file = ::open(__FILE__, O_RDONLY);
  const int directory = ::open("/", O_RDONLY);
  const int unsealed = ::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  REQUIRE(::ftruncate(unsealed, 4096) == 0);
  if (file >= 0) CHECK(code_of(file, 100, "something else").code == Code::unsupported);
  CHECK(code_of(directory, 100, "something else").code == Code::unsupported);
  CHECK(code_of(unsealed, 100, "SIGBUS").code == Code::unsupported);
  ::close(file);
  ::close(directory);
  ::close(unsealed);
}

TEST_CASE("shared store: another process reads the rows, and has none to write") {
  const Index rows = 1000;
  HostStoreOptions options;
  options.memory = {Pages::huge, -1, true, true};
  HostStore store = HostStore::make(rows, 256, 8, options).value();
  for (Index r = 0; r < rows; ++r) {
    std::memset(store.mutable_ref()(r).codes, static_cast<int>(r % 251), 256);
    std::memset(store.mutable_ref()(r).scales, static_cast<int>(r % 241), 8);
  }
  CHECK(store.report().shared);
  const auto reads_all = [&] {
    auto made = HostStore::of_descriptor(store.descriptor(), rows, 256, 8);
    if (!made.ok()) return 1;
    HostStore other = std::move(made).value();
    if (other.num_rows() != rows || other.stride() != store.stride()) return 2;
    for (Index r = 0; r < rows; ++r) {
      const RowBytes mine = store.ref()(r), theirs = other.ref()(r);
      if (std::memcmp(mine.codes, theirs.codes, 256) != 0 ||
          std::memcmp(mine.scales, theirs.scales, 8) != 0 || mine.codes == theirs.codes)
        return 3;
    }
    return other.mutable_ref().base == nullptr ? 0 : 4;
  };
  CHECK(reads_all() == 0);
  CHECK(outcome_of(reads_all) == 0);
  CHECK(HostStore::make(3, 256).value().descriptor() == -1);
  const auto more = HostStore::of_descriptor(store.descriptor(), 2 * rows, 256, 8);
  CHECK(more.status().code == Code::corrupt);
  CHECK(HostStore::of_descriptor(store.descriptor(), 0, 256).status().code == Code::invalid_config);
}

#endif
