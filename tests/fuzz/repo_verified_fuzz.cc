// Sections of records of verification. What is accepted is written again as the same value.
#include "base/error.h"
#include "repo/verified_objects.h"

using namespace holdfast;

namespace {

const Bytes kThreePacks = [] {
  ByteWriter out;
  out.varint(3);
  for (const uint8_t number : {uint8_t{1}, uint8_t{2}, uint8_t{3}})
    out.bytes(Bytes16{{static_cast<std::byte>(number)}}.view()).varint(number);
  return out.take();
}();

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input = std::as_bytes(std::span(data, size));
  for (uint16_t type : {uint16_t{2}, uint16_t{3}, uint16_t{4}}) {
    try {
      repo::VerifiedObjects objects;
      repo::decode_verified(type, input, "fuzz", objects);
      if (objects.size() > 100'000) continue;  // one section may be written as several
      repo::VerifiedObjects again;
      for (const auto& [each, raw] : repo::encode_verified(objects))
        repo::decode_verified(each, raw, "fuzz", again);
      HF_CHECK(again == objects);
    } catch (const Error&) {
    }
  }
  try {  // when each was read
    repo::VerifiedObjects objects;
    repo::decode_verified(2, kThreePacks, "fuzz", objects);
    repo::decode_verified(6, input, "fuzz", objects);
  } catch (const Error&) {
  }
  return 0;
}
