// limit.cc: what zstd alone needs for a data directory, the limit of a backup; and what zstd and
// SHA-256 alone need for WAL segments, that of their archiving.
//
//   build/release/bench_limit DIR
//   build/release/bench_limit --wal DIR
//
// Reads every file below DIR but pg_wal and compresses it in extents as a backup does, or in pieces
// as wal push does; prints the CPU seconds that the compressor took, on one processor, and the
// bytes that it made; for WAL also the CPU seconds that SHA-256 took.
#include <cstdio>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <string_view>

#include <zstd.h>

#include "base/file.h"
#include "codec/digest.h"
#include "repo/pack.h"
#include "repo/segment_pass.h"

int main(int argc, char** argv) {
  const bool is_wal = argc == 3 && std::string_view(argv[1]) == "--wal";
  if (!is_wal && (argc != 2 || std::string_view(argv[1]) == "--wal")) {
    std::fputs("usage: bench_limit [--wal] DIR\n", stderr);
    return 2;
  }
  namespace fs = std::filesystem;
  const size_t piece =
      is_wal ? holdfast::repo::kSegmentPieceBytes : holdfast::repo::kExtentBlocks * 8192;
  holdfast::Bytes raw(piece), into(ZSTD_compressBound(piece));
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                   ZSTD_freeCCtx);
  auto cpu_seconds = [] {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
  };
  double seconds = 0, hash_seconds = 0;
  size_t bytes = 0;
  for (fs::recursive_directory_iterator entry(argv[argc - 1]), end; entry != end; ++entry) {
    if (entry->path().filename() == "pg_wal") entry.disable_recursion_pending();
    if (!entry->is_regular_file()) continue;
    const std::string path = entry->path().string();
    const holdfast::Fd file = holdfast::open_file(path, O_RDONLY);
    holdfast::codec::Sha256 sha256;
    while (const size_t got = holdfast::read_some(file, raw, path)) {
      const double before = cpu_seconds();
      bytes += ZSTD_compressCCtx(context.get(), into.data(), into.size(), raw.data(), got, 3);
      seconds += cpu_seconds() - before;
      if (!is_wal) continue;
      const double hashed = cpu_seconds();
      sha256.update(holdfast::ByteView(raw).first(got));
      hash_seconds += cpu_seconds() - hashed;
    }
  }
  if (is_wal)
    std::printf("%.3f %zu %.3f\n", seconds, bytes, hash_seconds);
  else
    std::printf("%.3f %zu\n", seconds, bytes);
  return 0;
}
