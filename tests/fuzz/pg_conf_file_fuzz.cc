// ConfFile: any text stays what it is; our block goes in and comes out.
#include <array>

#include "base/error.h"
#include "pg/conf_file.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  pg::ConfFile file(text);
  HF_CHECK(file.to_text() == text);
  try {
    const std::array<pg::ConfSetting, 1> settings = {
        {{.name = "holdfast_fuzz.x", .value = std::string(text.substr(0, 64))}}};
    pg::ConfFile without(text);
    without.remove_block();
    pg::ConfFile with(text);
    with.set_block(settings);
    pg::ConfFile again(with.to_text());
    HF_CHECK(again.value("HOLDFAST_FUZZ.X") == settings[0].value);
    HF_CHECK(again.remove_block().has_value());
    std::string expected = without.to_text();
    if (!expected.empty() && expected.back() != '\n') expected.push_back('\n');
    HF_CHECK(again.to_text() == expected);
  } catch (const Error&) {
  }
  return 0;
}
