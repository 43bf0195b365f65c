// A backup_manifest. Its own checksum is made right, for else no change would come far.
#include <algorithm>
#include <string>

#include "base/error.h"
#include "codec/digest.h"
#include "pg/backup_manifest.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  constexpr std::string_view kKey = "\n\"Manifest-Checksum\": \"";
  if (const size_t key = text.rfind(kKey); key != std::string::npos) {
    text.resize(key + 1);
    text += "\"Manifest-Checksum\": \"" + to_hex(codec::sha256(as_bytes(text)).view()) + "\"}\n";
  }
  size_t at = 0;
  uint64_t files = 0;
  try {
    const pg::BackupManifest manifest = pg::read_backup_manifest(
        [&](std::span<std::byte> into) {
          const size_t count = std::min(into.size(), text.size() - at);
          std::ranges::copy(as_bytes(std::string_view(text).substr(at, count)), into.begin());
          at += count;
          return count;
        },
        [&](const pg::BackupManifestFile& file) {
          HF_CHECK(!file.path.empty());
          ++files;
        });
    HF_CHECK(manifest.file_count == files);
  } catch (const Error&) {
  }
  return 0;
}
