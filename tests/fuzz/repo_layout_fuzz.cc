// Names of objects: whatever a listing shows.
#include "base/bytes.h"
#include "base/error.h"
#include "repo/layout_table.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view name = as_text(std::as_bytes(std::span(data, size)));
  if (const repo::KindOfObject* kind = repo::kind_of_object(name)) HF_CHECK(!kind->noun.empty());
  return 0;
}
