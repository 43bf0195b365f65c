// What deletion decides by: references, intents, names of objects.
#include "base/error.h"
#include "repo/intent.h"
#include "repo/layout_table.h"
#include "repo/refs.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input = std::as_bytes(std::span(data, size));
  const std::string_view text = as_text(input);
  try {
    const std::vector<repo::PackRefs> refs = repo::decode_pack_refs(input, "refs");
    HF_CHECK(repo::decode_pack_refs(repo::encode_pack_refs(refs), "refs") == refs);
  } catch (const Error&) {
  }
  try {
    repo::intent_from_json(Json::parse(text, "intent"));
  } catch (const Error&) {
  }
  const repo::LineageName lineage{.cluster = "main", .major = 15, .count = 1};
  const std::string folder = repo::lineage_folder(lineage);
  if (const std::optional<repo::ObjectName> name =
          repo::parse_object_name(lineage, pg::WalSegmentSize(), folder + std::string(text))) {
    HF_CHECK(name->backup_id.empty() || repo::is_backup_id(name->backup_id));
    const repo::KindOfObject* kind = repo::kind_of_object(folder + std::string(text));
    HF_CHECK(kind != nullptr && kind->kind == name->kind);
  }
  return 0;
}
