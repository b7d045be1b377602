// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The library's readers under one type, so that each measurement is written once. A virtual call a
// batch is the price, the same for all.

#include <engram/storage/background_store.hpp>
#include <engram/storage/disk/adaptive_store.hpp>

#include <memory>
#include <string>

namespace engram::read_bench {

/// One store and one reader of it.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual Status submit(View<const RowId, 1> rows, View<std::byte, 1> bytes,
                        Ticket& ticket) noexcept = 0;
  virtual bool poll(Ticket& ticket) noexcept = 0;
  virtual Status wait(Ticket& ticket) noexcept = 0;
  virtual ReadCounters counters() const noexcept = 0;

  /// Reads a batch and waits for it.
  Status read(View<const RowId, 1> rows, View<std::byte, 1> bytes) noexcept {
    Ticket ticket;
    const Status asked = submit(rows, bytes, ticket);
    return asked.ok() ? wait(ticket) : asked;
  }
};

template <class Store>
class StoreBackend final : public Backend {
 public:
  /// `base`: what the store refers to, if anything.
  explicit StoreBackend(Store store, std::shared_ptr<const void> base = nullptr)
      : base_(std::move(base)), store_(std::move(store)), reader_(store_.reader()) {}
  Status submit(View<const RowId, 1> rows, View<std::byte, 1> bytes,
                Ticket& ticket) noexcept override {
    return reader_.submit(rows, bytes, ticket);
  }
  bool poll(Ticket& ticket) noexcept override { return reader_.poll(ticket); }
  Status wait(Ticket& ticket) noexcept override { return reader_.wait(ticket); }
  ReadCounters counters() const noexcept override {
    if constexpr (requires { reader_.counters(); })
      return reader_.counters();
    else
      return {};
  }

 private:
  std::shared_ptr<const void> base_;
  Store store_;
  decltype(std::declval<const Store&>().reader()) reader_;
};

/// What can carry reads to the disk here.
struct Carrier {
  std::string name;     ///< "io_uring", "threads"
  std::string missing;  ///< empty, or why it cannot be used: "not built", what the system said
};

/// A store that others use as well.
template <class Store>
struct SharedStore {
  std::shared_ptr<const Store> store;
  auto reader() const { return store->reader(); }
};

/// The stores over one carrier, a reader of each.
struct Backends {
  std::unique_ptr<Backend> direct, adaptive;
  std::unique_ptr<Backend> background;  ///< the direct store, driven by a thread
  DirectReport report;
};

template <class Reads>
Result<Backends> open_backends(const std::vector<TableSegment>& segments, const Reads& reads) {
  using Direct = DirectStore<Reads>;
  Result<Direct> opened = Direct::open(segments, reads);
  if (!opened.ok()) return opened.failure();
  const auto direct = std::make_shared<const Direct>(std::move(opened).value());
  Result<AdaptiveStore<Reads>> adaptive =
      AdaptiveStore<Reads>::open(segments, reads, direct->report().depth);
  if (!adaptive.ok()) return adaptive.failure();
  Backends made;
  made.report = direct->report();
  made.direct = std::make_unique<StoreBackend<SharedStore<Direct>>>(SharedStore<Direct>{direct});
  made.adaptive = std::make_unique<StoreBackend<AdaptiveStore<Reads>>>(std::move(adaptive).value());
  made.background = std::make_unique<StoreBackend<BackgroundStore<Direct>>>(
      BackgroundStore<Direct>(*direct), direct);
  return made;
}

}  // namespace engram::read_bench
