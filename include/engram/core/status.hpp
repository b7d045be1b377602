// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How the library reports what went wrong. Hot calls are noexcept and return a 16-byte `Status`;
// factories return a `Result<T>` that also carries the sentence; `.value()` throws for those who
// like exceptions and traps where they are off. docs/errors.md lists every code with its cure.

#include <engram/core/ids.hpp>
#include <engram/core/sentence.hpp>

#if ENGRAM_EXCEPTIONS
#include <stdexcept>
#endif
#include <new>
#include <utility>

ENGRAM_BEGIN_NAMESPACE

/// What went wrong. The numbers are stable.
enum class Code : std::int32_t {
  ok = 0,
  invalid_config = 1,  ///< a size, head count, multiplier or modulus that cannot work
  shape_mismatch = 2,  ///< two arrays of one call disagree; index: the extent expected
  bad_token = 3,       ///< token id negative or beyond the map; index: its position
  bad_state = 4,       ///< history of another length, or holding ids beyond the map
  bad_parent = 5,      ///< draft tree: a parent that is not an earlier node; index: the node
  bad_row = 6,  ///< row id beyond the table, or a token with rows in some columns only; index: its
                ///< position
  bad_sequence = 7,     ///< sequence starts not ascending or beyond the batch; index: the entry
  too_narrow = 8,       ///< the caller's integer type cannot hold every row id; index: the largest
  workspace_small = 9,  ///< index: the bytes needed
  corrupt = 10,         ///< bytes that are not what they should be; index: byte offset or item
  unsupported = 11,     ///< well-formed, but a kind that this library does not read
  mismatch = 12,        ///< a size or digest that is not the expected one
  io = 13,              ///< system_error: errno
  out_of_memory = 14,
  bad_mark = 15,    ///< a mark that is none of those of core/mark.hpp; index: its position
  not_finite = 16,  ///< a gradient that is NaN or infinite; index: the row
  busy = 17,        ///< as many batches are on the way as may be; index: that number
  device = 18,      ///< a call of the GPU's runtime or of cuBLAS failed; system_error: its
                    ///< cudaError_t or cublasStatus_t
};

/// Outcome of a call: 16 bytes, trivially copyable, crosses C borders, callbacks and threads.
struct [[nodiscard]] Status {
  Code code = Code::ok;
  std::int32_t system_error = 0;  ///< errno, a cudaError_t or a cublasStatus_t, 0 when none
  Index index = -1;  ///< what `code` says: a position, a row, a byte offset; -1 when none

  ENGRAM_HD constexpr bool ok() const noexcept { return code == Code::ok; }
  friend constexpr bool operator==(const Status&, const Status&) = default;
};
static_assert(sizeof(Status) == 16 && std::is_trivially_copyable_v<Status>);

/// The code's name as written in `Code`, for logs.
constexpr const char* to_string(Code code) noexcept {
  switch (code) {
    case Code::ok:
      return "ok";
    case Code::invalid_config:
      return "invalid_config";
    case Code::shape_mismatch:
      return "shape_mismatch";
    case Code::bad_token:
      return "bad_token";
    case Code::bad_state:
      return "bad_state";
    case Code::bad_parent:
      return "bad_parent";
    case Code::bad_row:
      return "bad_row";
    case Code::bad_sequence:
      return "bad_sequence";
    case Code::too_narrow:
      return "too_narrow";
    case Code::workspace_small:
      return "workspace_small";
    case Code::corrupt:
      return "corrupt";
    case Code::unsupported:
      return "unsupported";
    case Code::mismatch:
      return "mismatch";
    case Code::io:
      return "io";
    case Code::out_of_memory:
      return "out_of_memory";
    case Code::bad_mark:
      return "bad_mark";
    case Code::not_finite:
      return "not_finite";
    case Code::busy:
      return "busy";
    case Code::device:
      return "device";
  }
  return "unknown";
}

/// A failed status and the sentence that explains it: expected, found, where, which file.
struct Failure {
  Status status;
  std::string message;
};

ENGRAM_BEGIN_LOOPS

/// A failure from its parts: `fail(Code::mismatch, {"expected ", 3, ", found ", n})`.
inline Failure fail(Code code, std::string message, Index index = -1, int system_error = 0) {
  return {{code, system_error, index}, std::move(message)};
}
inline Failure fail(Code code, std::initializer_list<Piece> message, Index index = -1,
                    int system_error = 0) {
  return fail(code, sentence(message), index, system_error);
}

ENGRAM_END_LOOPS

#if ENGRAM_EXCEPTIONS
/// What `Result::value()` throws.
class Error : public std::runtime_error {
 public:
  Error(Status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  Status status() const noexcept { return status_; }

 private:
  Status status_;
};
#endif

ENGRAM_BEGIN_LOOPS
[[noreturn]] inline void raise(const Failure& failure) {
#if ENGRAM_EXCEPTIONS
  throw Error(failure.status, failure.message);
#else
  (void)failure;
  __builtin_trap();
#endif
}
ENGRAM_END_LOOPS

/// A value, or why there is none.
///
/// Returned by factories; moves, but is not copied or assigned. `if (!r.ok()) log(r.message());` or
/// `auto x = std::move(r).value();`.
template <class T>
class [[nodiscard]] Result {
 public:
  ENGRAM_ALWAYS_INLINE Result(T value)
      : value_(std::move(value)), ok_(true) {}  // NOLINT(google-explicit-constructor)
  ENGRAM_ALWAYS_INLINE Result(Failure failure)
      : failure_(std::move(failure)) {}  // NOLINT(google-explicit-constructor)
  ENGRAM_ALWAYS_INLINE Result(Result&& other)
      : ok_(other.ok_), failure_(std::move(other.failure_)) {
    if (ok_) ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
  }
  Result& operator=(Result&&) = delete;
  ENGRAM_ALWAYS_INLINE ~Result() {
    if (ok_) value_.~T();
  }

  bool ok() const noexcept { return ok_; }
  Status status() const noexcept { return failure_.status; }
  /// The sentence; empty when ok().
  const std::string& message() const noexcept { return failure_.message; }
  const Failure& failure() const noexcept { return failure_; }

  /// The value. Throws `Error` when there is none; traps where exceptions are off.
  ENGRAM_ALWAYS_INLINE T& value() & {
    if (!ok()) raise(failure_);
    return value_;
  }
  ENGRAM_ALWAYS_INLINE const T& value() const& {
    if (!ok()) raise(failure_);
    return value_;
  }
  ENGRAM_ALWAYS_INLINE T value() && {
    if (!ok()) raise(failure_);
    return std::move(value_);
  }

 private:
  union {
    T value_;
  };
  bool ok_ = false;
  Failure failure_;
};

/// Nothing, or why the check failed.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Failure failure) : failure_(std::move(failure)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const noexcept { return failure_.status.ok(); }
  Status status() const noexcept { return failure_.status; }
  const std::string& message() const noexcept { return failure_.message; }
  const Failure& failure() const noexcept { return failure_; }
  ENGRAM_ALWAYS_INLINE void value() const {
    if (!ok()) raise(failure_);
  }

 private:
  Failure failure_;
};

ENGRAM_BEGIN_LOOPS

/// Why a hot call returned this code; empty where the code says it all.
constexpr const char* reason(Code code) noexcept {
  switch (code) {
    case Code::bad_token:
      return ": the token id there is negative or beyond the token map";
    case Code::bad_mark:
      return ": a position is a token, dead, the start of a document, or padding";
    case Code::bad_state:
      return ": the state's history has another length, or ids beyond the map";
    case Code::bad_parent:
      return ": a draft token's parent must be -1 or an earlier token";
    case Code::bad_row:
      return ": the row id there is beyond the table, or its token has rows in some columns only";
    case Code::bad_sequence:
      return ": sequence starts must begin at 0, never fall, and end inside the batch";
    case Code::shape_mismatch:
      return ": the arrays of the call disagree; the extent expected is ";
    case Code::too_narrow:
      return ": the integer type of the row ids cannot hold the table's last row, ";
    case Code::workspace_small:
      return ": the bytes that the workspace must have are ";
    case Code::not_finite:
      return ": the gradient of that row is NaN or infinite";
    case Code::busy:
      return ": as many batches as may be are on the way; wait for one of them";
    default:
      return "";
  }
}

/// The sentence for a status of a hot call: "address: bad_token at index 17: the token id ...".
inline std::string describe(Status status, std::string_view call) {
  const bool is_amount = status.code == Code::shape_mismatch || status.code == Code::too_narrow ||
                         status.code == Code::workspace_small;
  std::string text = sentence({call, ": ", to_string(status.code)});
  if (status.index >= 0 && !is_amount) text += sentence({" at index ", status.index});
  if (status.system_error != 0) text += sentence({", system error ", status.system_error});
  text += reason(status.code);
  return is_amount ? text + sentence({status.index}) : text;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
