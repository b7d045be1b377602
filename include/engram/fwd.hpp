// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Forward declarations, for headers that only name the library's types.

#include <engram/config.hpp>

#include <cstdint>

ENGRAM_BEGIN_NAMESPACE

enum class CanonicalId : std::int32_t;
enum class RowId : std::int64_t;
enum class LocalRowId : std::int64_t;
enum class HeadId : std::int32_t;
enum class Code : std::int32_t;
enum class Mark : std::uint8_t;

enum class Pages : std::int32_t;
enum class ZeroScore : std::int32_t;

struct Status;
template <class T>
class Result;
class Workspace;

struct Bf16;
struct F16;
struct E4m3;
struct E8m0;

struct Share;
class Barrier;
struct CpuDevice;

class IdentityCompressor;
class TokenMap;

struct NgramState;
struct NgramWindow;
template <class Boundary>
class SuffixNgrams;

struct AddressingConfig;
struct LayerLayout;
struct Layout;
template <class Mix>
class ModularHash;

struct RowBytes;
struct MutableRowBytes;
struct Fp8Codec;

class HostMemory;
struct HostMemoryOptions;
struct HostMemoryReport;
class HostStore;
class MappedFile;
class MmapStore;
class MappedFetchStore;
class SigbusGuard;
struct RowExtent;
struct TableSegment;
struct Ticket;
template <class Store, class Codec>
class Table;
template <class Store, class Codec>
class FetchTable;
class AnyTable;

struct FusionWeights;
struct FusionConfig;
struct FusionOptions;
struct SignedSqrtGate;
struct SigmoidGate;
struct ConstantGate;

class Fp8Projection;
template <class RowTableType, class ProjectionType, class GateType>
class EngramLayer;

struct EngramConfig;
struct Preset;
template <class Compressor, class Extractor, class Addressing>
class FrontEnd;

ENGRAM_END_NAMESPACE
