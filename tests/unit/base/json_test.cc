#include "base/json.h"

#include <limits>

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/error_of.h"

namespace holdfast {
namespace {

using test::error_of;

TEST(Json, KeepsTheOrderOfMembers) {
  Json json = Json::object();
  json.set("z", 1).set("a", "two").set("m", Json::array().push(true).push(Json())).set("z", 3);
  EXPECT_EQ(json.dump(0), R"({"z":3,"a":"two","m":[true,null]})");
  EXPECT_EQ(Json::parse(json.dump(), "x").dump(0), json.dump(0));
}

TEST(Json, IndentsForPeople) {
  const Json json = Json::parse(R"({"a":[1,{"b":{}}],"c":[]})", "x");
  EXPECT_EQ(json.dump(), R"({
  "a": [
    1,
    {
      "b": {}
    }
  ],
  "c": []
})");
}

TEST(Json, KeepsIntegersExactToTheirEnds) {
  for (const char* text : {"0", "1", "-1", "9007199254740993", "9223372036854775807",
                           "-9223372036854775808", "18446744073709551615"})
    EXPECT_EQ(Json::parse(text, "number").dump(), text);
  EXPECT_EQ(Json(std::numeric_limits<uint64_t>::max()).as_u64(), UINT64_MAX);
  EXPECT_EQ(Json::parse("-9223372036854775808", "x").as_i64(), INT64_MIN);
  EXPECT_EQ(Json::parse("9223372036854775807", "x").as_i64(), INT64_MAX);
  EXPECT_EQ(Json(5).as_u64(), 5u);
}

TEST(Json, RefusesIntegersThatDoNotFitWhatIsAsked) {
  EXPECT_EQ(error_of([] { Json::parse("9223372036854775808", "x").as_i64(); }).detail(),
            "It should be a signed integer of 64 bits and is the integer 9223372036854775808.");
  EXPECT_EQ(error_of([] { Json::parse("-1", "x").as_u64(); }).detail(),
            "It should be an unsigned integer of 64 bits and is the integer -1.");
  EXPECT_EQ(error_of([] { Json::parse("1.0", "x").as_i64(); }).code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error_of([] { Json::parse("18446744073709551616", "x"); }).detail(),
            "The integer 18446744073709551616 has more than 64 bits.");
}

TEST(Json, ReadsBackNumbersWithAFraction) {
  for (double value : {0.0, 0.1, -2.5, 1e300, 5e-324})
    EXPECT_EQ(Json::parse(Json(value).dump(), "x").as_double(), value);
  EXPECT_EQ(Json::parse("3", "x").as_double(), 3.0);
  EXPECT_EQ(Json(std::numeric_limits<double>::quiet_NaN()).dump(), "null");
}

TEST(Json, EscapesTextAndReplacesWhatIsNotUtf8) {
  EXPECT_EQ(Json("a\"\\\n\x01").dump(), R"("a\"\\\n\u0001")");
  EXPECT_EQ(Json("b\xc3\xa4r").dump(), "\"b\xc3\xa4r\"");
  EXPECT_EQ(Json("a\xff"
                 "b")
                .dump(),
            "\"a\xef\xbf\xbd"
            "b\"");
  EXPECT_EQ(Json::parse(R"("\u00e4\ud83d\ude00\u0000x")", "x").as_string(),
            std::string("\xc3\xa4\xf0\x9f\x98\x80\0x", 8));
}

TEST(Json, RefusesMalformedTextAndSaysWhere) {
  const struct {
    const char* text;
    const char* detail;
  } cases[] = {
      {"", "It is not JSON: syntax error at line 1, column 1."},
      {"{\"a\": tru}", "It is not JSON: syntax error at line 1, column 10."},
      {"{\"a\": 1,\n \"b\" 2}", "It is not JSON: syntax error at line 2, column 6."},
      {"[1,]", "It is not JSON: syntax error at line 1, column 4."},
      {"1 2", "It is not JSON: syntax error at line 1, column 3."},
      {"{'a': 1}", "It is not JSON: syntax error at line 1, column 2."},
      {"\"a\xff\"", "It is not JSON: syntax error at line 1, column 3."},
      {"NaN", "It is not JSON: syntax error at line 1, column 1."},
      {"{\"a\": 1, \"b\": {\"c\": 2, \"c\": 3}}", "The member \"c\" stands twice in settings: b."},
  };
  for (const auto& c : cases) {
    const Error error = error_of([&] { Json::parse(c.text, "settings"); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << c.text;
    EXPECT_EQ(error.message(), "malformed settings") << c.text;
    EXPECT_EQ(error.detail(), c.detail) << c.text;
  }
}

TEST(Json, LimitsDepth) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_EQ(Json::parse(nested(64), "x").dump(0), nested(64));
  EXPECT_EQ(error_of([&] { Json::parse(nested(65), "x"); }).detail(),
            "It is nested deeper than 64 levels.");
  EXPECT_EQ(error_of([&] { Json::parse(std::string(10'000'000, '['), "x"); }).detail(),
            "It is nested deeper than 64 levels.");
}

TEST(Json, NamesThePathOfWhatIsMissingOrWrong) {
  const Json json = Json::parse(R"({"wal": {"start": 7, "files": ["a", 2]}})", "commit object");
  EXPECT_EQ(error_of([&] { json.at("backup"); }).message(),
            "missing member \"backup\" in commit object");
  EXPECT_EQ(error_of([&] { json.at("wal").at("end"); }).message(),
            "missing member \"end\" in commit object: wal");
  const Error wrong = error_of([&] { json.at("wal").at("start").as_string(); });
  EXPECT_EQ(wrong.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(wrong.message(), "unexpected value of commit object: wal.start");
  EXPECT_EQ(wrong.detail(), "It should be a string and is the integer 7.");
  EXPECT_EQ(error_of([&] { json.at("wal").at("files").items()[1].as_bool(); }).message(),
            "unexpected value of commit object: wal.files[1]");
  EXPECT_EQ(error_of([&] { json.at("wal").at("start").at("x"); }).detail(),
            "It should be an object and is the integer 7.");
  EXPECT_EQ(error_of([] { Json(true).as_string(); }).message(), "unexpected value of a JSON value");
}

TEST(Json, FindAnswersNothingForWhatMayBeAbsent) {
  const Json json = Json::parse(R"({"a": null})", "x");
  ASSERT_NE(json.find("a"), nullptr);
  EXPECT_TRUE(json.find("a")->is_null());
  EXPECT_EQ(json.find("b"), nullptr);
  EXPECT_EQ(Json(1).find("b"), nullptr);
  EXPECT_TRUE(Json(std::optional<int64_t>{}).is_null());
  EXPECT_EQ(Json(std::optional<std::string>{"a"}).as_string(), "a");
}

}  // namespace
}  // namespace holdfast
