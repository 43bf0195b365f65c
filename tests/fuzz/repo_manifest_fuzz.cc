// Manifest blocks. Every path that is accepted may be laid, and comes behind the one before.
#include "base/error.h"
#include "repo/manifest_block.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input = std::as_bytes(std::span(data, size));
  try {
    repo::ManifestBlockReader reader(Bytes(input.begin(), input.end()));
    std::optional<repo::ManifestEntry> before;
    while (std::optional<repo::ManifestEntry> entry = reader.next()) {
      HF_CHECK(repo::is_manifest_path(entry->root, entry->path));
      HF_CHECK(!before || repo::manifest_less(*before, *entry));
      before = std::move(entry);
    }
  } catch (const Error&) {
  }
  return 0;
}
