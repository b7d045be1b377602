// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A store of any size whose bytes are a function of row and position, and as awkward as a store may
// be: it answers at once, late or never by itself, fails when told to, and can be opened again. It
// notes what callers must not do.

#include <engram/core/splitmix.hpp>
#include <engram/storage/store.hpp>

#include <cstring>
#include <memory>
#include <vector>

/// Writes the row's bytes: a number made of its id for each eight.
inline void write_numbered_row(std::byte* to, engram::Index size, engram::Index row,
                               std::uint64_t edition) {
  for (engram::Index i = 0; i < size; i += 8) {
    const auto number = static_cast<std::uint64_t>(row) * 4099 + static_cast<std::uint64_t>(i / 8);
    const std::uint64_t word = engram::splitmix64(number ^ edition << 56);
    std::memcpy(to + i, &word, static_cast<std::size_t>(size - i < 8 ? size - i : 8));
  }
}

inline bool is_numbered_row(const std::byte* bytes, engram::Index size, engram::Index row,
                            std::uint64_t edition) {
  std::byte expected[4096];
  write_numbered_row(expected, size, row, edition);
  return std::memcmp(bytes, expected, static_cast<std::size_t>(size)) == 0;
}

class NumberedStore {
 public:
  /// What a batch does. Atomic, as readers of several threads share it.
  struct Notes {
    engram::Index batches = 0, rows = 0, open = 0, readers = 0;
    engram::Index misuses = 0;
    engram::Index fail_submit = 0, fail_wait = 0;  ///< every so many batches; 0: none
    engram::Index failed_row = -1;  ///< the last, which the status names by its place
    engram::Index polls = 0;        ///< until a batch is done by itself; -1: at once, in submit()
  };
  static engram::Index add(engram::Index& to, engram::Index more) {
    return __atomic_add_fetch(&to, more, __ATOMIC_RELAXED);
  }

  NumberedStore(engram::Index rows, engram::Index codes, engram::Index scales = 0,
                std::uint64_t edition = 0)
      : rows_(rows), codes_(codes), scales_(scales), edition_(edition) {}

  class Reader {
   public:
    explicit Reader(const NumberedStore& store)
        : notes_(store.notes_), from_(&store), edition_(store.edition_) {
      add(notes_->readers, 1);
    }
    Reader(Reader&&) = delete;  // a reader need not move
    ~Reader() {
      add(notes_->readers, -1);
      misuse(pending_);
    }

    engram::Status submit(engram::View<const engram::RowId, 1> ids,
                          engram::View<std::byte, 1> bytes, engram::Ticket& ticket) {
      const engram::Index each = from_->codes_ + from_->scales_;
      misuse(pending_ || ticket.id != -1 || ids.size() < 1 || bytes.size() != ids.size() * each);
      for (engram::Index i = 0; i < ids.size(); ++i)
        misuse(engram::to_integer(ids(i)) < 0 || engram::to_integer(ids(i)) >= from_->rows_);
      std::memset(bytes.data(), 0xEE, static_cast<std::size_t>(bytes.size()));
      const engram::Index number = add(notes_->batches, 1);
      add(notes_->rows, ids.size());
      if (notes_->fail_submit > 0 && number % notes_->fail_submit == 0)
        return failure_at({engram::Code::io, 5, 0}, ids);
      fails_ = notes_->fail_wait > 0 && number % notes_->fail_wait == 0;
      ids_ = ids;
      bytes_ = bytes;
      polls_ = 0;
      pending_ = true;
      add(notes_->open, 1);
      ticket.id = number;
      if (notes_->polls < 0) (void)wait(ticket);
      return {};
    }
    bool poll(engram::Ticket& ticket) {
      misuse(!pending_);
      if (notes_->polls == 0 || ++polls_ < notes_->polls) return false;
      (void)ticket;
      return true;
    }
    engram::Status wait(engram::Ticket& ticket) {
      misuse(!pending_);
      const engram::Index each = from_->codes_ + from_->scales_;
      for (engram::Index r = 0; !fails_ && r < ids_.size(); ++r)
        write_numbered_row(bytes_.data() + r * each, each, engram::to_integer(ids_(r)), edition_);
      pending_ = false;
      add(notes_->open, -1);
      ticket.id = -1;
      ticket.status =
          fails_
              ? failure_at({engram::Code::corrupt, 0, ids_.size() < 4 ? ids_.size() - 1 : 3}, ids_)
              : engram::Status{};
      return ticket.status;
    }

   private:
    engram::Status failure_at(engram::Status status, engram::View<const engram::RowId, 1> ids) {
      const engram::Index row = engram::to_integer(ids(status.index));
      __atomic_store_n(&notes_->failed_row, row, __ATOMIC_RELAXED);
      return status;
    }
    void misuse(bool is_one) {
      if (is_one) add(notes_->misuses, 1);
    }
    std::shared_ptr<Notes> notes_;
    const NumberedStore* from_;
    std::uint64_t edition_;
    engram::View<const engram::RowId, 1> ids_;
    engram::View<std::byte, 1> bytes_;
    engram::Index polls_ = 0;
    bool pending_ = false, fails_ = false;
  };

  engram::Index num_rows() const { return rows_; }
  engram::Index row_bytes() const { return codes_; }
  engram::Index scale_bytes() const { return scales_; }
  std::uint64_t generation() const { return generation_; }
  Reader reader() const { return Reader(*this); }

  std::uint64_t edition() const { return edition_; }
  Notes& notes() const { return *notes_; }
  /// Another edition of the same table takes this one's place.
  void open_again(engram::Index rows = -1) {
    const std::shared_ptr<Notes> notes = notes_;
    *this = NumberedStore(rows < 0 ? rows_ : rows, codes_, scales_, edition_ + 1);
    notes_ = notes;
  }

 private:
  engram::Index rows_, codes_, scales_;
  std::uint64_t edition_;
  std::uint64_t generation_ = engram::next_generation();
  std::shared_ptr<Notes> notes_ = std::make_shared<Notes>();
};
static_assert(engram::check_fetch_store<NumberedStore>());
