// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The library's readers under one type, so that each measurement is written once. A virtual call a
// batch is the price, the same for all.

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
  virtual const DirectReport& report() const noexcept = 0;

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
  explicit StoreBackend(Store store) : store_(std::move(store)), reader_(store_.reader()) {}
  Status submit(View<const RowId, 1> rows, View<std::byte, 1> bytes,
                Ticket& ticket) noexcept override {
    return reader_.submit(rows, bytes, ticket);
  }
  bool poll(Ticket& ticket) noexcept override { return reader_.poll(ticket); }
  Status wait(Ticket& ticket) noexcept override { return reader_.wait(ticket); }
  ReadCounters counters() const noexcept override { return reader_.counters(); }
  const DirectReport& report() const noexcept override { return store_.report(); }

 private:
  Store store_;
  decltype(std::declval<const Store&>().reader()) reader_;
};

/// What can carry reads to the disk here.
struct Carrier {
  std::string name;     ///< "io_uring", "threads"
  std::string missing;  ///< empty, or why it cannot be used: "not built", what the system said
};

/// The two stores over one carrier.
struct Backends {
  std::unique_ptr<Backend> direct, adaptive;
};

template <class Reads>
Result<Backends> open_backends(const std::vector<TableSegment>& segments, const Reads& reads) {
  Result<DirectStore<Reads>> direct = DirectStore<Reads>::open(segments, reads);
  if (!direct.ok()) return direct.failure();
  const Index depth = direct.value().report().depth;
  Result<AdaptiveStore<Reads>> adaptive = AdaptiveStore<Reads>::open(segments, reads, depth);
  if (!adaptive.ok()) return adaptive.failure();
  return Backends{
      std::make_unique<StoreBackend<DirectStore<Reads>>>(std::move(direct).value()),
      std::make_unique<StoreBackend<AdaptiveStore<Reads>>>(std::move(adaptive).value())};
}

}  // namespace engram::read_bench
