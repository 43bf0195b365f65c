#include <gtest/gtest.h>

#include "base/bytes.h"

namespace holdfast {
namespace {

TEST(Base64, WritesTheExamplesOfRfc4648AndReadsThemBack) {
  const struct {
    const char* plain;
    const char* text;
  } cases[] = {{"", ""},
               {"f", "Zg=="},
               {"fo", "Zm8="},
               {"foo", "Zm9v"},
               {"foob", "Zm9vYg=="},
               {"fooba", "Zm9vYmE="},
               {"foobar", "Zm9vYmFy"}};
  for (const auto& c : cases) {
    EXPECT_EQ(to_base64(as_bytes(c.plain)), c.text);
    EXPECT_EQ(parse_base64(c.text), to_bytes(c.plain)) << c.text;
  }
}

TEST(Base64, ReadsBackEveryByteAtEveryPlace) {
  for (size_t length = 0; length < 8; ++length)
    for (unsigned value = 0; value < 256; ++value)
      for (size_t place = 0; place < length; ++place) {
        Bytes bytes(length, std::byte{0x5A});
        bytes[place] = static_cast<std::byte>(value);
        ASSERT_EQ(parse_base64(to_base64(bytes)), bytes);
      }
}

TEST(Base64, RefusesWhatItDoesNotWrite) {
  for (const char* text : {"Zg", "Zg=", "Zh==", "Zm9=", "Zm9v\n", "Zm9 ", "Zm-_", "====", "=",
                           "Z===", "Zg==Zg==", "Zg==\n   "})
    EXPECT_EQ(parse_base64(text), std::nullopt) << text;
}

}  // namespace
}  // namespace holdfast
