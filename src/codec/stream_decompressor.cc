// Facts: RFC 1952 (gzip), RFC 8878 (zstd), lz4_Frame_format.md.
#include "codec/stream_decompressor.h"

#include <algorithm>
#include <array>
#include <new>
#include <utility>
#include <variant>
#include <zlib.h>

#include <fmt/core.h>
#include <lz4frame.h>
#include <zstd.h>

#include "base/error.h"

namespace holdfast::codec {
namespace {

constexpr size_t kInputBytes = size_t{256} << 10;
constexpr int kLargestZstdWindow = 27;  // 128 MiB, what zstd itself reads unless told otherwise

struct Magic {
  std::string_view bytes;
  std::string_view name;
  std::string_view program;  // for what is not read here
};
constexpr Magic kGzip{"\x1F\x8B", "gzip", ""};
constexpr Magic kZstd{"\x28\xB5\x2F\xFD", "zstd", ""};
constexpr Magic kLz4{"\x04\x22\x4D\x18", "lz4", ""};
constexpr Magic kRefused[] = {{std::string_view("\xFD"
                                                "7zXZ\0",
                                                6),
                               "xz", "xz"},
                              {"BZh", "bzip2", "bzip2"},
                              {"\x1F\x9D", "compress", "gzip"},
                              {"PK\x03\x04", "zip", "unzip"}};

class Gzip {
 public:
  Gzip() {
    // 16: gzip alone, its header and its checksum.
    if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) throw std::bad_alloc();
  }
  ~Gzip() { inflateEnd(&stream); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  z_stream stream{};
};

struct FreeZstdStream {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};
struct FreeLz4Decompressor {
  void operator()(LZ4F_dctx* context) const { LZ4F_freeDecompressionContext(context); }
};
using ZstdContext = std::unique_ptr<ZSTD_DCtx, FreeZstdStream>;
using Lz4Context = std::unique_ptr<LZ4F_dctx, FreeLz4Decompressor>;

ZstdContext zstd_context() {
  ZstdContext context(ZSTD_createDCtx());
  if (!context) throw std::bad_alloc();
  HF_CHECK(ZSTD_isError(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax,
                                               kLargestZstdWindow)) == 0);
  return context;
}

Lz4Context lz4_context() {
  LZ4F_dctx* context = nullptr;
  if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)) != 0)
    throw std::bad_alloc();
  return Lz4Context(context);
}

}  // namespace

struct StreamDecompressor::State {
  struct Step {
    size_t taken = 0;    // of the input
    size_t written = 0;  // to the output
  };

  ReadBytes source;
  std::string name;
  std::string_view format;
  std::variant<std::monostate, std::unique_ptr<Gzip>, ZstdContext, Lz4Context> decoder;
  Bytes input = Bytes(kInputBytes);
  size_t begin = 0, end = 0;  // what is there of the input
  bool source_ended = false;
  bool in_frame = false;
  bool failed = false;

  [[noreturn]] void fail(std::string detail) {
    failed = true;
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = fmt::format("\"{}\" is damaged", name),
                 .detail = fmt::format("It cannot be read as {}: {}", format, detail),
                 .hint = "It was cut short or changed on its way; take it from its source again."});
  }
  void fill() {
    if (source_ended) return;
    begin = 0;
    end = source(input);
    source_ended = end < input.size();
  }
  ByteView available() const { return ByteView(input).subspan(begin, end - begin); }

  Step step(std::span<std::byte> into);
  Step step(Gzip& gzip, std::span<std::byte> into);
  Step step(ZSTD_DCtx* context, std::span<std::byte> into);
  Step step(LZ4F_dctx* context, std::span<std::byte> into);
  size_t read(std::span<std::byte> into);
};

StreamDecompressor::State::Step StreamDecompressor::State::step(Gzip& gzip,
                                                                std::span<std::byte> into) {
  z_stream& stream = gzip.stream;
  const ByteView in = available();
  // zlib takes bytes that it does not change as not constant.
  stream.next_in = reinterpret_cast<Bytef*>(input.data() + begin);
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(into.data());
  stream.avail_out = static_cast<uInt>(std::min<size_t>(into.size(), size_t{1} << 30));
  const auto room = stream.avail_out;
  const int result = inflate(&stream, Z_NO_FLUSH);
  if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
    fail(stream.msg != nullptr ? std::string(stream.msg) + "." : "its data does not fit.");
  in_frame = result != Z_STREAM_END;
  if (!in_frame) HF_CHECK(inflateReset(&stream) == Z_OK);
  return {.taken = in.size() - stream.avail_in, .written = room - stream.avail_out};
}

StreamDecompressor::State::Step StreamDecompressor::State::step(ZSTD_DCtx* context,
                                                                std::span<std::byte> into) {
  const ByteView in = available();
  ZSTD_inBuffer from{.src = in.data(), .size = in.size(), .pos = 0};
  ZSTD_outBuffer to{.dst = into.data(), .size = into.size(), .pos = 0};
  const size_t result = ZSTD_decompressStream(context, &to, &from);
  if (ZSTD_isError(result) != 0) fail(fmt::format("{}.", ZSTD_getErrorName(result)));
  in_frame = result != 0;
  return {.taken = from.pos, .written = to.pos};
}

StreamDecompressor::State::Step StreamDecompressor::State::step(LZ4F_dctx* context,
                                                                std::span<std::byte> into) {
  size_t taken = available().size();
  size_t written = into.size();
  const size_t result =
      LZ4F_decompress(context, into.data(), &written, available().data(), &taken, nullptr);
  if (LZ4F_isError(result) != 0) fail(fmt::format("{}.", LZ4F_getErrorName(result)));
  in_frame = result != 0;
  return {.taken = taken, .written = written};
}

StreamDecompressor::State::Step StreamDecompressor::State::step(std::span<std::byte> into) {
  if (auto* gzip = std::get_if<std::unique_ptr<Gzip>>(&decoder)) return step(**gzip, into);
  if (auto* zstd = std::get_if<ZstdContext>(&decoder)) return step(zstd->get(), into);
  return step(std::get<Lz4Context>(decoder).get(), into);
}

size_t StreamDecompressor::State::read(std::span<std::byte> into) {
  HF_CHECK(!failed);
  size_t done = 0;
  if (std::holds_alternative<std::monostate>(decoder)) {
    // As it is: first what was looked at.
    done = std::min(into.size(), end - begin);
    std::ranges::copy(available().first(done), into.begin());
    begin += done;
    if (done < into.size() && !source_ended) {
      const size_t got = source(into.subspan(done));
      source_ended = got < into.size() - done;
      done += got;
    }
    return done;
  }
  while (done < into.size()) {
    if (begin == end) fill();
    const bool at_end = begin == end;
    if (at_end && !in_frame) break;
    const Step moved = step(into.subspan(done));
    begin += moved.taken;
    done += moved.written;
    // Nothing goes in and nothing comes out any more: the rest is missing.
    if (moved.taken == 0 && moved.written == 0 && begin == end && source_ended && in_frame)
      fail("it ends before it is complete.");
    if (moved.taken == 0 && moved.written == 0 && begin != end) fail("it does not go on.");
  }
  return done;
}

StreamDecompressor::StreamDecompressor(ReadBytes read, std::string name)
    : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.source = std::move(read);
  state.name = std::move(name);
  state.fill();
  const std::string_view start = as_text(state.available());
  const auto is = [&](const Magic& magic) { return start.starts_with(magic.bytes); };
  if (is(kGzip)) {
    state.decoder = std::make_unique<Gzip>();
    state.format = kGzip.name;
  } else if (is(kZstd)) {
    state.decoder = zstd_context();
    state.format = kZstd.name;
  } else if (is(kLz4)) {
    state.decoder = lz4_context();
    state.format = kLz4.name;
  }
  for (const Magic& magic : kRefused)
    if (is(magic))
      throw Error({.code = ErrorCode::kUnsupported,
                   .message = fmt::format("\"{}\" is compressed by {}", state.name, magic.name),
                   .detail = "Read are gzip, zstd and lz4, and what is not compressed.",
                   .hint = fmt::format("Decompress it first, with {}.", magic.program)});
}

StreamDecompressor::~StreamDecompressor() = default;
StreamDecompressor::StreamDecompressor(StreamDecompressor&&) noexcept = default;

bool StreamDecompressor::is_compressed() const {
  return !std::holds_alternative<std::monostate>(state_->decoder);
}

size_t StreamDecompressor::read(std::span<std::byte> into) { return state_->read(into); }

}  // namespace holdfast::codec
