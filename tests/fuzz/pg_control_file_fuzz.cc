// parse_control_file: any bytes. The CRC is made to fit half of the time, so that the fields are
// reached.
#include <algorithm>

#include "base/error.h"
#include "pg/control_file.h"
#include "pg/crc32c.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ByteView input(reinterpret_cast<const std::byte*>(data), size);
  Bytes bytes(input.begin(), input.end());
  if (!bytes.empty() && (std::to_integer<int>(bytes.back()) & 1) != 0) {
    bytes.resize(pg::kControlFileBytes);
    for (size_t offset : {size_t{288}, size_t{292}, size_t{308}}) {
      if (pg::crc_is_valid(bytes)) break;
      Bytes fitted = bytes;
      store_le(fitted.data() + offset, pg::crc32c(ByteView(fitted).first(offset)));
      if (pg::crc_is_valid(fitted)) bytes = fitted;
    }
  }
  try {
    pg::ControlFile control = pg::parse_control_file(bytes);
    HF_CHECK(!to_string(control.state).empty() && !to_string(control.wal_level).empty());
    HF_CHECK(pg::crc_is_valid(bytes));
  } catch (const Error&) {
  }
  return 0;
}
