// Files of SQL as anybody may write them.
#include "base/error.h"
#include "drill/sql_statements.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    for (const drill::SqlStatement& statement : drill::split_sql(text))
      HF_CHECK(!statement.text.empty() && statement.line > 0);
  } catch (const Error&) {
  }
  return 0;
}
