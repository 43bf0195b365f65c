#include "repo/keys.h"

#include <algorithm>
#include <sys/stat.h>

#include <gtest/gtest.h>

#include "base/file.h"
#include "support/error_of.h"
#include "support/fake_random.h"

namespace holdfast::repo {
namespace {

using test::error_of;

const Bytes16 kRepository = {{std::byte{1}}};
const Bytes16 kKeyId = {{std::byte{2}}};
const Bytes16 kOther = {{std::byte{3}}};

bool same_key(const codec::SecretKey& a, const codec::SecretKey& b) {
  return std::ranges::equal(a.view(), b.view());
}

class KeyWrapping : public testing::TestWithParam<bool> {
 protected:
  KeySource source(char fill) {
    KeySource key;
    if (GetParam())
      key.key_file = codec::SecretKey::from_bytes(Bytes(32, static_cast<std::byte>(fill)));
    else
      key.passphrase = std::string(12, fill);
    return key;
  }
  test::FakeRandom random;
  codec::SecretKey data_key = codec::SecretKey::generate(random);
};
INSTANTIATE_TEST_SUITE_P(BothKinds, KeyWrapping, testing::Bool(), [](const auto& parameter) {
  return parameter.param ? "KeyFile" : "Passphrase";
});

TEST_P(KeyWrapping, OpensWithWhatWrappedItAndWithNothingElse) {
  const Json body = wrap_data_key(data_key, source('a'), kRepository, kKeyId, random);
  std::optional<codec::SecretKey> opened = unwrap_data_key(body, source('a'), kRepository, kKeyId);
  ASSERT_TRUE(opened.has_value());
  EXPECT_TRUE(same_key(*opened, data_key));
  EXPECT_FALSE(unwrap_data_key(body, source('b'), kRepository, kKeyId).has_value());
  EXPECT_FALSE(unwrap_data_key(body, source('a'), kOther, kKeyId).has_value());
  EXPECT_FALSE(unwrap_data_key(body, source('a'), kRepository, kOther).has_value());
}

TEST_P(KeyWrapping, DoesNotShowTheDataKey) {
  const Json body = wrap_data_key(data_key, source('a'), kRepository, kKeyId, random);
  EXPECT_EQ(body.dump().find(to_hex(data_key.view())), std::string::npos);
}

TEST_P(KeyWrapping, RefusesAChangedBox) {
  const Json body = wrap_data_key(data_key, source('a'), kRepository, kKeyId, random);
  const std::string wrapped = body.at("wrapped").as_string();
  for (size_t at : {size_t{0}, size_t{24}, wrapped.size() - 1}) {
    std::string changed = wrapped;
    changed[at] = changed[at] == '0' ? '1' : '0';
    Json damaged = body;
    damaged.set("wrapped", changed);
    EXPECT_FALSE(unwrap_data_key(damaged, source('a'), kRepository, kKeyId).has_value()) << at;
  }
}

TEST(KeyWrappingKinds, AKeyFileDoesNotOpenWhatAPassphraseWrapped) {
  test::FakeRandom random;
  KeySource passphrase{.passphrase = "correct horse"};
  KeySource file{.key_file = codec::SecretKey::generate(random)};
  const codec::SecretKey data_key = codec::SecretKey::generate(random);
  const Json body = wrap_data_key(data_key, file, kRepository, kKeyId, random);
  EXPECT_FALSE(unwrap_data_key(body, passphrase, kRepository, kKeyId).has_value());
}

TEST(KeyWrappingKinds, RefusesAnImpossibleCost) {
  test::FakeRandom random;
  KeySource passphrase{.passphrase = "correct horse"};
  Json body =
      wrap_data_key(codec::SecretKey::generate(random), passphrase, kRepository, kKeyId, random);
  Json argon2 = body.at("argon2");
  argon2.set("memory_kib", uint64_t{0xFFFFFFFF});
  body.set("argon2", argon2);
  EXPECT_EQ(error_of([&] { unwrap_data_key(body, passphrase, kRepository, kKeyId); }).code(),
            ErrorCode::kCorrupt);
}

class KeyFile : public testing::Test {
 protected:
  std::string write(std::string_view content, mode_t mode = 0600) {
    const std::string path = join_path(directory.path(), "key");
    write_file_durably(path, as_bytes(content), mode);
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    return path;
  }
  TemporaryDirectory directory;
};

TEST_F(KeyFile, IsReadAsBytesAndAsDigits) {
  const std::string raw(32, 'k');
  const codec::SecretKey key = codec::SecretKey::from_bytes(as_bytes(raw));
  const std::string digits = to_hex(as_bytes(raw));
  for (const std::string& content : {raw, digits, digits + "\n", digits + "\r\n"})
    EXPECT_TRUE(same_key(read_key_file(write(content)), key)) << content.size();
}

TEST_F(KeyFile, RefusesWhatIsNone) {
  for (const std::string& content :
       {std::string(), std::string(31, 'k'), std::string(33, 'k'), std::string(64, 'k'),
        std::string(63, 'a'), std::string(64, 'a') + " \n", std::string(64, 'a') + "\n\n",
        std::string(100'000, 'a')}) {
    Error error = error_of([&] { read_key_file(write(content)); });
    EXPECT_EQ(error.code(), ErrorCode::kConfiguration) << content.size();
    EXPECT_NE(error.message().find("is not a key file"), std::string::npos);
  }
  EXPECT_EQ(error_of([&] { read_key_file(directory.path()); }).code(), ErrorCode::kConfiguration)
      << "a directory";
}

TEST_F(KeyFile, RefusesOneThatEverybodyCanRead) {
  Error error = error_of([&] { read_key_file(write(std::string(32, 'k'), 0604)); });
  EXPECT_EQ(error.code(), ErrorCode::kPermission);
  EXPECT_EQ(error.detail(), "Its mode is 0604.");
  EXPECT_EQ(error.hint(), "Run: chmod 0600 " + join_path(directory.path(), "key"));
  EXPECT_NO_THROW(read_key_file(write(std::string(32, 'k'), 0640)));
}

TEST_F(KeyFile, ThatIsMissingIsNamed) {
  const std::string path = join_path(directory.path(), "none");
  Error error = error_of([&] { read_key_file(path); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(), "key file \"" + path + "\" does not exist");
}

TEST_F(KeyFile, IsCreatedPrivateAndNeverOverwritten) {
  test::FakeRandom random;
  const std::string path = join_path(directory.path(), "new");
  create_key_file(path, random);
  EXPECT_EQ(stat_if_exists(path)->st_mode & 0777, 0600u);
  const codec::SecretKey key = read_key_file(path);
  EXPECT_EQ(error_of([&] { create_key_file(path, random); }).code(), ErrorCode::kAlreadyExists);
  EXPECT_TRUE(same_key(read_key_file(path), key));
}

}  // namespace
}  // namespace holdfast::repo
