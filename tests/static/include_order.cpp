// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A function of one header does not hide another's of the same name: what cached_store.hpp calls,
// with copy_rows.hpp in front of it.
#include <engram/storage/copy_rows.hpp>
// Not sorted in.
#include <engram/storage/cached_store.hpp>
#include <engram/storage/mapped_reader.hpp>

using namespace engram;

Status read_through_a_cache(const CachedStore<MappedFetchStore>& cache, View<const RowId, 1> rows,
                            View<std::byte, 1> bytes, Ticket& ticket) {
  auto reader = cache.reader();
  return reader.submit(rows, bytes, ticket);
}
