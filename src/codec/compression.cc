#include "codec/compression.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <lz4.h>
#include <lz4hc.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/error.h"

namespace holdfast::codec {
namespace {

struct Algorithm {
  std::string_view name;
  Compression algorithm;
  int lowest;
  int highest;
  int usual;  // where the setting names no level
};
constexpr Algorithm kAlgorithms[] = {
    {"zstd", Compression::kZstd, -7, 19, 3},
    {"lz4", Compression::kLz4, 0, 12, 1},
    {"none", Compression::kNone, 0, 0, 0},
};
// LZ4's high compressor begins here; below it is the fast one.
constexpr int kLz4HighLevel = 2;

// zstd's own levels take long to find out that there is nothing to be found: level 3 is four times
// as slow on random bytes as on text, and gains no more there than level 1 does. Whoever asks for
// more than kHighestHastyLevel wants the last percent at any price.
constexpr int kHastyLevel = 1;
constexpr int kHighestHastyLevel = 9;
constexpr size_t kSampleBytes = size_t{8} << 10;  // a page
constexpr size_t kSampleEvery = size_t{128} << 10;

// What is dense loses no more than an eighth.
constexpr bool is_dense(size_t bytes, size_t raw_bytes) {
  return bytes > raw_bytes - raw_bytes / 8;
}

const Algorithm& find_algorithm(Compression algorithm) {
  const Algorithm* found = std::ranges::find(kAlgorithms, algorithm, &Algorithm::algorithm);
  HF_CHECK(found != std::end(kAlgorithms));
  return *found;
}

[[noreturn]] void throw_setting(std::string_view text, std::string detail) {
  throw Error(
      {.code = ErrorCode::kConfiguration,
       .message = fmt::format("invalid compression \"{}\"", text),
       .detail = std::move(detail),
       .hint = "Write zstd, lz4 or none; zstd takes a level from -7 to 19 and lz4 one from 0 to "
               "12, as in \"zstd:3\"."});
}

void check_level(const Algorithm& algorithm, int level, std::string_view text) {
  if (level < algorithm.lowest || level > algorithm.highest)
    throw_setting(text, fmt::format("The level {} is outside {} to {}.", level, algorithm.lowest,
                                    algorithm.highest));
}

[[noreturn]] void throw_damaged(std::string_view name, std::string detail) {
  throw Error({.code = ErrorCode::kCorrupt,
               .message = fmt::format("damaged {} frame", name),
               .detail = std::move(detail)});
}

void copy_bytes(ByteView from, std::span<std::byte> to) {
  if (!from.empty()) std::memcpy(to.data(), from.data(), from.size());
}

const char* as_char(ByteView bytes) { return reinterpret_cast<const char*>(bytes.data()); }
char* as_char(std::span<std::byte> bytes) { return reinterpret_cast<char*>(bytes.data()); }

struct FreeZstdCompressor {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};
struct FreeZstdDecompressor {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

void set_parameter(ZSTD_CCtx* context, ZSTD_cParameter parameter, int value) {
  HF_CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context, parameter, value)));
}

// The frame's length. REQUIRES: room for the bound.
size_t zstd_frame(ZSTD_CCtx* context, ByteView raw, std::span<std::byte> into) {
  const size_t bytes = ZSTD_compress2(context, into.data(), into.size(), raw.data(), raw.size());
  if (!ZSTD_isError(bytes)) return bytes;
  // With room for the bound only memory can be short.
  HF_CHECK(ZSTD_getErrorCode(bytes) == ZSTD_error_memory_allocation);
  throw std::bad_alloc();
}

}  // namespace

CompressionSetting parse_compression(std::string_view text) {
  size_t colon = text.find(':');
  const Algorithm* found = std::ranges::find(kAlgorithms, text.substr(0, colon), &Algorithm::name);
  if (found == std::end(kAlgorithms)) throw_setting(text, "No such compression is known.");
  CompressionSetting setting{.algorithm = found->algorithm, .level = found->usual};
  if (colon == std::string_view::npos) return setting;

  if (found->algorithm == Compression::kNone) throw_setting(text, "\"none\" takes no level.");
  std::string_view digits = text.substr(colon + 1);
  const char* end = digits.data() + digits.size();
  std::from_chars_result read = std::from_chars(digits.data(), end, setting.level);
  if (read.ec != std::errc{} || read.ptr != end)
    throw_setting(text, fmt::format("\"{}\" is not a level.", digits));
  check_level(*found, setting.level, text);
  return setting;
}

std::string to_string(CompressionSetting setting) {
  const Algorithm& algorithm = find_algorithm(setting.algorithm);
  if (setting.algorithm == Compression::kNone) return std::string(algorithm.name);
  return fmt::format("{}:{}", algorithm.name, setting.level);
}

// --- Compressor ---------------------------------------------------------------------------------

struct Compressor::State {
  using Zstd = std::unique_ptr<ZSTD_CCtx, FreeZstdCompressor>;

  static Zstd make_zstd(int level);
  size_t compress_zstd(ByteView raw, std::span<std::byte> into) const;
  bool looks_dense(ByteView raw, std::span<std::byte> scratch) const;

  CompressionSetting setting;
  Zstd zstd;
  Zstd hasty;  // where there is a quicker level for what is dense
  // LZ4 asks for memory aligned for pointers, which that of operator new is.
  std::unique_ptr<std::byte[]> lz4;
};

Compressor::State::Zstd Compressor::State::make_zstd(int level) {
  Zstd zstd(ZSTD_createCCtx());
  if (!zstd) throw std::bad_alloc();
  set_parameter(zstd.get(), ZSTD_c_compressionLevel, level);
  // What stands around a frame knows its length and checks its bytes: these would be 8 bytes for
  // nothing.
  set_parameter(zstd.get(), ZSTD_c_contentSizeFlag, 0);
  set_parameter(zstd.get(), ZSTD_c_checksumFlag, 0);
  set_parameter(zstd.get(), ZSTD_c_dictIDFlag, 0);
  return zstd;
}

// By the bytes alone and not by those before them, so that the same bytes make the same frame.
size_t Compressor::State::compress_zstd(ByteView raw, std::span<std::byte> into) const {
  if (hasty && looks_dense(raw, into)) {
    const size_t bytes = zstd_frame(hasty.get(), raw, into);
    // Pages that are dense each for itself may still be alike.
    if (is_dense(bytes, raw.size())) return bytes;
  }
  return zstd_frame(zstd.get(), raw, into);
}

bool Compressor::State::looks_dense(ByteView raw, std::span<std::byte> scratch) const {
  size_t sampled = 0;
  size_t bytes = 0;
  for (size_t at = kSampleEvery / 2; at + kSampleBytes <= raw.size(); at += kSampleEvery) {
    sampled += kSampleBytes;
    bytes += zstd_frame(hasty.get(), raw.subspan(at, kSampleBytes), scratch);
  }
  return sampled > 0 && is_dense(bytes, sampled);
}

Compressor::Compressor(CompressionSetting setting) : state_(std::make_unique<State>()) {
  check_level(find_algorithm(setting.algorithm), setting.level, to_string(setting));
  state_->setting = setting;
  switch (setting.algorithm) {
    case Compression::kZstd:
      state_->zstd = State::make_zstd(setting.level);
      if (setting.level > kHastyLevel && setting.level <= kHighestHastyLevel)
        state_->hasty = State::make_zstd(kHastyLevel);
      break;
    case Compression::kLz4: {
      int bytes = setting.level >= kLz4HighLevel ? LZ4_sizeofStateHC() : LZ4_sizeofState();
      state_->lz4 = std::make_unique<std::byte[]>(static_cast<size_t>(bytes));
      break;
    }
    case Compression::kNone:
      break;
  }
}
Compressor::~Compressor() = default;
Compressor::Compressor(Compressor&&) noexcept = default;

size_t Compressor::bound(size_t raw_bytes) const {
  switch (state_->setting.algorithm) {
    case Compression::kZstd:
      return ZSTD_compressBound(raw_bytes);
    case Compression::kLz4:
      HF_CHECK(raw_bytes <= LZ4_MAX_INPUT_SIZE);
      return static_cast<size_t>(LZ4_compressBound(static_cast<int>(raw_bytes)));
    case Compression::kNone:
      break;
  }
  return raw_bytes;
}

Compressor::Result Compressor::compress(ByteView raw, std::span<std::byte> into) {
  HF_CHECK(into.size() >= bound(raw.size()));
  // LZ4's high compressor would follow the null pointer of an empty view.
  if (raw.empty()) return {.algorithm = Compression::kNone, .bytes = 0};
  size_t bytes = raw.size();
  switch (state_->setting.algorithm) {
    case Compression::kZstd:
      bytes = state_->compress_zstd(raw, into);
      break;
    case Compression::kLz4: {
      int room = static_cast<int>(std::min(into.size(), size_t{INT_MAX}));
      int length = static_cast<int>(raw.size());  // bound() has checked it
      int level = state_->setting.level;
      int done = level >= kLz4HighLevel
                     ? LZ4_compress_HC_extStateHC(state_->lz4.get(), as_char(raw), as_char(into),
                                                  length, room, level)
                     : LZ4_compress_fast_extState(state_->lz4.get(), as_char(raw), as_char(into),
                                                  length, room, 1);
      HF_CHECK(done > 0);
      bytes = static_cast<size_t>(done);
      break;
    }
    case Compression::kNone:
      break;
  }
  if (bytes < raw.size()) return {.algorithm = state_->setting.algorithm, .bytes = bytes};
  copy_bytes(raw, into);
  return {.algorithm = Compression::kNone, .bytes = raw.size()};
}

// --- Decompressor -------------------------------------------------------------------------------

struct Decompressor::State {
  std::unique_ptr<ZSTD_DCtx, FreeZstdDecompressor> zstd;  // made when first asked for
};

Decompressor::Decompressor() : state_(std::make_unique<State>()) {}
Decompressor::~Decompressor() = default;
Decompressor::Decompressor(Decompressor&&) noexcept = default;

void Decompressor::decompress(Compression algorithm, ByteView frame, std::span<std::byte> into) {
  switch (algorithm) {
    case Compression::kNone:
      if (frame.size() != into.size())
        throw_damaged("uncompressed", fmt::format("It has {} bytes where {} were expected.",
                                                  frame.size(), into.size()));
      copy_bytes(frame, into);
      return;

    case Compression::kZstd: {
      // One frame and nothing behind it; libzstd alone would also take several, and frames that it
      // skips.
      size_t length = ZSTD_findFrameCompressedSize(frame.data(), frame.size());
      if (ZSTD_isError(length))
        throw_damaged("zstd", fmt::format("{}.", ZSTD_getErrorName(length)));
      if (length != frame.size())
        throw_damaged("zstd", fmt::format("It ends after {} of {} bytes.", length, frame.size()));
      if (!state_->zstd) {
        state_->zstd.reset(ZSTD_createDCtx());
        if (!state_->zstd) throw std::bad_alloc();
      }
      size_t bytes = ZSTD_decompressDCtx(state_->zstd.get(), into.data(), into.size(), frame.data(),
                                         frame.size());
      if (ZSTD_isError(bytes)) throw_damaged("zstd", fmt::format("{}.", ZSTD_getErrorName(bytes)));
      if (bytes != into.size())
        throw_damaged("zstd",
                      fmt::format("It holds {} bytes where {} were expected.", bytes, into.size()));
      return;
    }

    case Compression::kLz4: {
      if (frame.size() > INT_MAX || into.size() > INT_MAX)
        throw_damaged("lz4", fmt::format("{} bytes are more than lz4 can hold.",
                                         std::max(frame.size(), into.size())));
      int bytes = LZ4_decompress_safe(as_char(frame), as_char(into), static_cast<int>(frame.size()),
                                      static_cast<int>(into.size()));
      if (bytes < 0)
        throw_damaged("lz4", fmt::format("It cannot be expanded to {} bytes.", into.size()));
      if (static_cast<size_t>(bytes) != into.size())
        throw_damaged("lz4",
                      fmt::format("It holds {} bytes where {} were expected.", bytes, into.size()));
      return;
    }
  }
  throw Error({.code = ErrorCode::kCorrupt,
               .message = fmt::format("unknown compression {}", static_cast<unsigned>(algorithm)),
               .detail = "It was written by a newer version of this program, or it is damaged."});
}

}  // namespace holdfast::codec
