// limit.cc: what zstd alone needs for a data directory: the limit of a backup.
//
//   build/release/bench_limit DIR
//
// Reads every file below DIR but pg_wal and compresses it in extents as a backup does; prints the
// CPU seconds that the compressor took, on one processor, and the bytes that it made.
#include <cstdio>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <memory>

#include <zstd.h>

#include "base/file.h"
#include "repo/pack.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: bench_limit DIR\n", stderr);
    return 2;
  }
  namespace fs = std::filesystem;
  constexpr size_t kExtent = holdfast::repo::kExtentBlocks * 8192;
  holdfast::Bytes raw(kExtent), into(ZSTD_compressBound(kExtent));
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                   ZSTD_freeCCtx);
  auto cpu_seconds = [] {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
  };
  double seconds = 0;
  size_t bytes = 0;
  for (fs::recursive_directory_iterator entry(argv[1]), end; entry != end; ++entry) {
    if (entry->path().filename() == "pg_wal") entry.disable_recursion_pending();
    if (!entry->is_regular_file()) continue;
    const std::string path = entry->path().string();
    const holdfast::Fd file = holdfast::open_file(path, O_RDONLY);
    while (const size_t got = holdfast::read_some(file, raw, path)) {
      const double before = cpu_seconds();
      bytes += ZSTD_compressCCtx(context.get(), into.data(), into.size(), raw.data(), got, 3);
      seconds += cpu_seconds() - before;
    }
  }
  std::printf("%.3f %zu\n", seconds, bytes);
  return 0;
}
