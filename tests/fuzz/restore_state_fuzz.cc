// What a restore has left in a data directory, as somebody else may have changed it: any text is
// read or refused, and what was read is written so that it reads back the same.
#include "base/error.h"
#include "restore/state.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input = std::as_bytes(std::span(data, size));
  try {
    const restore::RestoredState state =
        restore::restored_state_from_json(Json::parse(as_text(input), "fuzz"));
    const std::string text = restore::to_json(state).dump();
    const std::string again =
        restore::to_json(restore::restored_state_from_json(Json::parse(text, "fuzz"))).dump();
    HF_CHECK(text == again);
  } catch (const Error&) {
  }
  return 0;
}
