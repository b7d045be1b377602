// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A store that answers when it is told to, with rows that say which they are.

#include <elements.hpp>
#include <engram/storage/store.hpp>

#include <condition_variable>
#include <mutex>
#include <vector>

namespace staged_case {

using namespace engram;

/// What the readers of a GatedStore wait for.
struct Latch {
  std::mutex mutex;
  std::condition_variable changed;
  bool is_open = true;
  Status status;
  Index rows_read = 0;
  std::uint64_t edition = 0;     ///< of the rows
  std::uint64_t generation = 0;  ///< of the store: how often it was opened again

  void set(bool open, Status gives = {}) {
    const std::lock_guard lock(mutex);
    is_open = open;
    status = gives;
    changed.notify_all();
  }
};

/// Byte b of row r: r * 7 + b, in the bits of a small e4m3 number; scales near 1.
inline std::byte byte_of(Index row, Index b, Index codes, std::uint64_t edition = 0) {
  return static_cast<std::byte>(b < codes ? (row * 7 + b + static_cast<Index>(edition)) % 120
                                          : 125 + row % 4);
}

/// Such a row of `width` elements, decoded.
template <class Codec>
std::vector<Bf16> decoded_row(const Codec& codec, Index row, Index width,
                              std::uint64_t edition = 0) {
  const Index codes = codec.code_bytes(width);
  std::vector<std::byte> bytes;
  for (Index b = 0; b < codes + codec.scale_bytes(width); ++b)
    bytes.push_back(byte_of(row, b, codes, edition));
  std::vector<Bf16> all;
  for (Index d = 0; d < width; ++d)
    all.push_back(from_float<Bf16>(codec.value({bytes.data(), bytes.data() + codes}, d)));
  return all;
}

class GatedStore {
 public:
  GatedStore(Index rows, Index codes, Index scales, Latch& gate)
      : rows_(rows), codes_(codes), scales_(scales), gate_(&gate) {}

  Index num_rows() const noexcept { return rows_; }
  Index row_bytes() const noexcept { return codes_; }
  Index scale_bytes() const noexcept { return scales_; }
  std::uint64_t generation() const noexcept { return gate_->generation; }

  class Reader {
   public:
    explicit Reader(const GatedStore& store) : store_(&store) {}
    Status submit(View<const RowId, 1> rows, View<std::byte, 1> bytes, Ticket& ticket) noexcept {
      ticket.id = 1;
      rows_ = rows;
      bytes_ = bytes;
      return {};
    }
    bool poll(Ticket&) noexcept { return false; }
    Status wait(Ticket& ticket) noexcept {
      std::unique_lock lock(store_->gate_->mutex);
      store_->gate_->changed.wait(lock, [&] { return store_->gate_->is_open; });
      const Index each = store_->codes_ + store_->scales_;
      for (Index i = 0; i < rows_.extent(0); ++i)
        for (Index b = 0; b < each; ++b)
          bytes_(i * each + b) =
              byte_of(to_integer(rows_(i)), b, store_->codes_, store_->gate_->edition);
      store_->gate_->rows_read += rows_.extent(0);
      finish_ticket(ticket, store_->gate_->status);
      return ticket.status;
    }

   private:
    const GatedStore* store_;
    View<const RowId, 1> rows_;
    View<std::byte, 1> bytes_;
  };
  Reader reader() const { return Reader(*this); }

 private:
  Index rows_, codes_, scales_;
  Latch* gate_;
};

}  // namespace staged_case
