// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A model's Engram configuration: its addresses (AddressingConfig) and the widths of its module.
// Values are read from a model file or taken from a preset; none of them is a template parameter.

#include <engram/addressing/make_layout.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Addressing plus module geometry, under the reference code's names.
struct EngramConfig : AddressingConfig {
  Index n_embed_per_ngram = 0;   ///< elements an order contributes: n_head_per_ngram rows
  Index hidden_size = 0;         ///< D
  std::int32_t hc_mult = 1;      ///< G, branches of the residual stream
  std::int32_t kernel_size = 0;  ///< taps of the short convolution; 0: the model has none
  Index row_multiple = 1;        ///< tables are stored padded to a multiple of this many rows
  bool bias = false;             ///< key and value projections have one
  float norm_eps = -1;           ///< of the norms of hidden state and keys; -1: not stated
  float conv_eps = -1;           ///< of the norm in front of the convolution; -1: not stated
};

ENGRAM_END_NAMESPACE
