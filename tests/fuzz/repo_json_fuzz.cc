// The bodies of key objects and commits. A commit that is accepted is written again as the same
// text.
#include "base/error.h"
#include "repo/backup.h"
#include "repo/keys.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const Json body = Json::parse(as_text(std::as_bytes(std::span(data, size))), "input");
    static const repo::KeySource key{.passphrase = {},
                                     .key_file = codec::SecretKey::from_bytes(Bytes(32))};
    try {
      repo::unwrap_data_key(body, key, {}, {});
    } catch (const Error&) {
    }
    const std::string text = to_json(repo::backup_from_json(body)).dump();
    HF_CHECK(to_json(repo::backup_from_json(Json::parse(text, "again"))).dump() == text);
  } catch (const Error&) {
  }
  return 0;
}
