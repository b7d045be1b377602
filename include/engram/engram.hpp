// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The CPU library in one include: floors 0 to 4, standard library only. Wings (unicode/, xxhash/,
// io/) are included by name, because each brings a dependency.

#include <engram/addressing/addresser.hpp>
#include <engram/addressing/dedupe.hpp>
#include <engram/addressing/hash_rows.hpp>
#include <engram/addressing/layout.hpp>
#include <engram/addressing/layout_bytes.hpp>
#include <engram/addressing/make_layout.hpp>
#include <engram/addressing/modular_hash.hpp>
#include <engram/addressing/sharding.hpp>
#include <engram/config.hpp>
#include <engram/core/ids.hpp>
#include <engram/core/sha256.hpp>
#include <engram/core/space.hpp>
#include <engram/core/status.hpp>
#include <engram/core/view.hpp>
#include <engram/layer/config.hpp>
#include <engram/layer/front_end.hpp>
#include <engram/layer/presets.hpp>
#include <engram/ngram/boundary.hpp>
#include <engram/ngram/extractor.hpp>
#include <engram/ngram/state.hpp>
#include <engram/ngram/suffix.hpp>
#include <engram/tokenizer/compressor.hpp>
#include <engram/tokenizer/identity.hpp>
#include <engram/tokenizer/token_map.hpp>
#include <engram/version.hpp>
