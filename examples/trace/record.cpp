// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "record.hpp"

#include "token_stream.hpp"

#include <engram/io/row_trace_writer.hpp>
#include <engram/ngram/suffix.hpp>

namespace engram::trace {

Result<Index> record_text(const bpe::Encoder& encoder, const TokenMap& map, const Layout& layout,
                          const std::string& text, const std::string& out) {
  if (const std::string digest = map.digest(); digest != layout.token_map)
    return fail(Code::mismatch, {"trace: the token map's digest is ", digest,
                                 ", the layout was made for ", layout.token_map});
  if (encoder.vocab_size() > map.vocab_size())
    return fail(Code::mismatch, {"trace: the encoder has ", encoder.vocab_size(),
                                 " token ids, the token map ", map.vocab_size()});
  Result<TokenStream> stream = TokenStream::open(encoder, text);
  if (!stream.ok()) return stream.failure();
  Result<RowTraceWriter> writer = RowTraceWriter::create(out, layout);
  if (!writer.ok()) return writer.failure();
  const SuffixNgrams extractor(layout.max_ngram_size, RuntimeBoundary{layout.boundary});
  NgramState state = extractor.initial_state();
  std::vector<std::int32_t> ids;
  constexpr std::size_t at_once = 4096;
  std::vector<NgramWindow> windows;
  for (;;) {
    const Result<bool> more = stream.value().next(ids);
    if (!more.ok()) return more.failure();
    if (!more.value()) break;
    for (std::size_t at = 0; at < ids.size();) {
      windows.clear();
      for (; at < ids.size() && windows.size() < at_once; ++at)
        windows.push_back(extractor.push(state, map(ids[at]), Mark::token));
      if (Result<void> written = writer.value().append(windows); !written.ok())
        return written.failure();
    }
  }
  if (Result<void> finished = writer.value().finish(); !finished.ok()) return finished.failure();
  return writer.value().tokens();
}

}  // namespace engram::trace
