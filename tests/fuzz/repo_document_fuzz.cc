// Documents as somebody else may have left them: any text, and any body under a check that holds.
#include "base/error.h"
#include "codec/digest.h"
#include "codec/seal.h"
#include "repo/format.h"

using namespace holdfast;

namespace {

constexpr char kName[] = "clusters/main/15-1/marks/x/y.json";

repo::Keyring keyring() {
  repo::Keyring ring;
  ring.content_digest_key = Bytes(64);
  return ring;
}

// The input as the body of a document of our repository, unsealed.
Bytes dressed(ByteView body) {
  Bytes unit(body.begin(), body.end());
  unit.resize(unit.size() + codec::kSealBytes);
  codec::ObjectSeal(
      nullptr, {},
      {.repository_id = {}, .kind = repo::object_kind("MARK"), .version = 1, .object_id = {}})
      .seal(0, unit);
  const std::string zeros(64, '0');
  std::string text = "{\"holdfast\":\"mark\",\"version\":1,\"repository\":\"" + zeros.substr(32) +
                     "\",\"object\":\"" + zeros.substr(32) + "\",\"salt\":\"" + zeros +
                     "\",\"seal\":\"none\",\"check\":\"" +
                     to_hex(ByteView(unit).last(codec::kSealBytes)) + "\",\"body\":\n";
  text += as_text(body);
  text += "\n}\n";
  return to_bytes(text);
}

void decode(ByteView text) {
  try {
    repo::decode_document(keyring(), "mark", kName, text);
  } catch (const Error&) {
  }
  try {
    repo::decode_open_document("mark", kName, text);
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input = std::as_bytes(std::span(data, size));
  decode(input);
  decode(dressed(input));
  return 0;
}
