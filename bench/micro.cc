// micro.cc: the hot loops of a backup and a restore, each beside the limit it runs into.
//
//   build/release/bench_micro           bytes per second of each; bench/micro puts them in a table
//
// The data are pages like a server's: a header, rows of numbers and words, and a third of bytes
// that do not compress. One thread; everything fits the second-level cache but for the copy, which
// is the memory's limit.
#include <benchmark/benchmark.h>
#include <cstring>
#include <memory>
#include <random>

#include <zstd.h>

#include "base/file.h"
#include "codec/compression.h"
#include "codec/digest.h"
#include "codec/seal.h"
#include "pg/crc32c.h"
#include "pg/page.h"
#include "repo/file_map.h"
#include "repo/pack.h"
#include "repo/repository.h"
#include "store/memory_store.h"

namespace holdfast {
namespace {

constexpr size_t kPage = 8192;
constexpr size_t kExtent = repo::kExtentBlocks * kPage;

// `pages` different ones.
Bytes make_pages(size_t pages) {
  Bytes bytes(pages * kPage);
  std::mt19937_64 random(7);
  for (size_t at = 0; at + 64 <= bytes.size(); at += 64) {
    const uint64_t row = at / 64;
    std::memcpy(bytes.data() + at, &row, sizeof row);
    std::memcpy(bytes.data() + at + 8, "account of the customer ", 24);
    for (size_t word = 0; word < 2; ++word) {
      const uint64_t noise = random();
      std::memcpy(bytes.data() + at + 40 + word * 8, &noise, sizeof noise);
    }
  }
  return bytes;
}

void set_bytes(benchmark::State& state, size_t bytes) {
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(bytes));
}

void memory_copy(benchmark::State& state) {
  const Bytes from = make_pages(8192);
  Bytes to(from.size());
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), from.size());
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
  set_bytes(state, from.size());
}
BENCHMARK(memory_copy);

// What a loop over these bytes costs at least: each is looked at once.
void memory_read(benchmark::State& state) {
  const Bytes bytes = make_pages(16);
  for (auto _ : state) {
    uint64_t sum = 0;
    for (size_t at = 0; at < bytes.size(); at += 8) {
      uint64_t word;
      std::memcpy(&word, bytes.data() + at, sizeof word);
      sum ^= word;
    }
    benchmark::DoNotOptimize(sum);
  }
  set_bytes(state, bytes.size());
}
BENCHMARK(memory_read);

void page_checksum(benchmark::State& state) {
  const Bytes pages = make_pages(16);
  for (auto _ : state)
    for (uint32_t block = 0; block < 16; ++block)
      benchmark::DoNotOptimize(
          pg::checksum(pg::PageView(pages.data() + block * kPage, kPage), {block}));
  set_bytes(state, pages.size());
}
BENCHMARK(page_checksum);

void crc32c(benchmark::State& state) {
  const Bytes bytes = make_pages(16);
  for (auto _ : state) benchmark::DoNotOptimize(pg::crc32c(bytes));
  set_bytes(state, bytes.size());
}
BENCHMARK(crc32c);

void xxh3(benchmark::State& state) {
  const Bytes bytes = make_pages(16);
  for (auto _ : state) benchmark::DoNotOptimize(codec::xxh3_128(bytes));
  set_bytes(state, bytes.size());
}
BENCHMARK(xxh3);

void sha256(benchmark::State& state) {
  const Bytes bytes = make_pages(2048);
  for (auto _ : state) {
    codec::Sha256 digest;
    digest.update(bytes);
    benchmark::DoNotOptimize(digest.finish());
  }
  set_bytes(state, bytes.size());
}
BENCHMARK(sha256);

// The limit of the two below.
void zstd_alone(benchmark::State& state) {
  const Bytes pages = make_pages(repo::kExtentBlocks * 64);
  Bytes into(ZSTD_compressBound(kExtent));
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                   ZSTD_freeCCtx);
  size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        ZSTD_compressCCtx(context.get(), into.data(), into.size(), pages.data() + at, kExtent, 3));
    at = (at + kExtent) % pages.size();
  }
  set_bytes(state, kExtent);
}
BENCHMARK(zstd_alone);

void append_extents(benchmark::State& state, const repo::KeySource& key) {
  const Bytes pages = make_pages(repo::kExtentBlocks * 64);
  store::MemoryStore store;
  const repo::Repository repository = repo::Repository::create(store, key, system_clock());
  repo::ExtentWriter writer(repository, {.cluster = "main", .major = 15, .count = 1}, {});
  size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(writer.append(
        {.first_block = at / kPage, .block_count = repo::kExtentBlocks, .file_tag = 1},
        ByteView(pages).subspan(at, kExtent)));
    at = (at + kExtent) % pages.size();
  }
  writer.finish();
  set_bytes(state, kExtent);
}
void extent_plain(benchmark::State& state) { append_extents(state, {}); }
void extent_sealed(benchmark::State& state) {
  repo::KeySource key;
  key.key_file = codec::SecretKey::from_bytes(Bytes(32, std::byte{7}));
  append_extents(state, key);
}
// Bounded, for the store keeps what is put.
BENCHMARK(extent_plain)->Iterations(4000);
BENCHMARK(extent_sealed)->Iterations(4000);

void unzstd_alone(benchmark::State& state) {
  const Bytes pages = make_pages(repo::kExtentBlocks);
  Bytes frame(ZSTD_compressBound(kExtent));
  frame.resize(ZSTD_compress(frame.data(), frame.size(), pages.data(), kExtent, 3));
  Bytes into(kExtent);
  const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                   ZSTD_freeDCtx);
  for (auto _ : state)
    benchmark::DoNotOptimize(
        ZSTD_decompressDCtx(context.get(), into.data(), into.size(), frame.data(), frame.size()));
  set_bytes(state, kExtent);
}
BENCHMARK(unzstd_alone);

// A file of 64 MiB in a repository in memory.
class StoredFile {
 public:
  StoredFile() : repository_(repo::Repository::create(store_, {}, system_clock())) {
    const Bytes pages = make_pages(kBlocks);
    repo::ExtentWriter writer(repository_, kLineage, {});
    repo::LeafBuilder leaf(writer, kPage);
    repo::FileMapBuilder map;
    for (uint64_t index = 0; index < repo::leaf_count_of(pages.size()); ++index) {
      leaf.begin(1, index);
      leaf.add(index * repo::kLeafBytes / kPage,
               ByteView(pages).subspan(index * repo::kLeafBytes, repo::kLeafBytes));
      map.add(writer, leaf.finish(), kPage);
    }
    location_ = map.finish(writer, pages.size(), kPage);
    writer.finish();
  }
  static constexpr size_t kBlocks = 8192;
  static inline const repo::LineageName kLineage{.cluster = "main", .major = 15, .count = 1};
  const repo::Repository& repository() const { return repository_; }
  const repo::FileLocation& location() const { return location_; }

 private:
  store::MemoryStore store_;
  repo::Repository repository_;
  repo::FileLocation location_;
};

// All of it in order, as restore reads it: extents opened, checked and handed over.
void read_extents(benchmark::State& state) {
  const StoredFile file;
  repo::ExtentReader extents(file.repository(), StoredFile::kLineage);
  repo::FileReader reader(extents, kPage);
  reader.open(file.location(), StoredFile::kBlocks * kPage);
  for (auto _ : state)
    for (uint64_t leaf = 0; leaf < reader.leaf_count(); ++leaf)
      reader.for_each_piece(
          leaf, [](uint64_t, ByteView piece) { benchmark::DoNotOptimize(piece.data()); });
  set_bytes(state, StoredFile::kBlocks * kPage);
}
BENCHMARK(read_extents);

// One page somewhere: the map, the extent, the page.
void look_up_page(benchmark::State& state) {
  const StoredFile file;
  repo::ExtentReader extents(file.repository(), StoredFile::kLineage);
  repo::FileReader reader(extents, kPage);
  reader.open(file.location(), StoredFile::kBlocks * kPage);
  std::mt19937 random(3);
  Bytes page(kPage);
  for (auto _ : state)
    benchmark::DoNotOptimize(reader.read_range(random() % StoredFile::kBlocks * kPage, page));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(look_up_page);

}  // namespace
}  // namespace holdfast

BENCHMARK_MAIN();
