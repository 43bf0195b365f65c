// Reports of drills as somebody else may have left them: what is read can be written and read
// again.
#include "base/error.h"
#include "repo/drill_report.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const repo::DrillReport report = repo::drill_report_from_json(Json::parse(text, "report"));
    repo::drill_report_from_json(repo::to_json(report));
  } catch (const Error&) {
  }
  return 0;
}
