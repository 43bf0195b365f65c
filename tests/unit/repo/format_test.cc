#include "repo/format.h"

#include <gtest/gtest.h>

#include "support/error_of.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::error_of;
using test::FakeRandom;
using test::Sealing;
using test::TestRepository;

const std::string kName = "clusters/main/15-1/marks/x/y.json";

class Document : public testing::TestWithParam<Sealing> {
 protected:
  Bytes encoded() {
    Json body = Json::object();
    body.set("what", "pinned")
        .set("detail", "the \"last\" of März")
        .set("count", uint64_t{18446744073709551615u});
    return encode_document(keyring(), "mark", kName, body, target.random);
  }
  const Keyring& keyring() { return target.repository.keyring(); }
  bool sealed() { return GetParam() != Sealing::kNone; }
  TestRepository target{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Sealing, Document, testing::Values(Sealing::kNone, Sealing::kKeyFile),
                         [](const auto& p) {
                           return p.param == Sealing::kNone ? "Plain" : "Sealed";
                         });

TEST_P(Document, ReadsBackItsBodyWithItsOwnNameFirst) {
  const Json body = decode_document(keyring(), "mark", kName, encoded());
  ASSERT_EQ(body.members().size(), 4u);
  EXPECT_EQ(body.members()[0].first, "self");
  EXPECT_EQ(body.at("self").as_string(), kName);
  EXPECT_EQ(body.at("detail").as_string(), "the \"last\" of März");
  EXPECT_EQ(body.at("count").as_u64(), UINT64_MAX);
}

TEST_P(Document, HasTheShapeOfTheFormat) {
  const Bytes text = encoded();
  const std::string_view view = as_text(text);
  EXPECT_TRUE(view.starts_with("{\"holdfast\":\"mark\",\"version\":1,\"repository\":\"" +
                               to_hex(target.repository.id().view()) + "\",\"object\":\""));
  EXPECT_TRUE(view.ends_with("\n}\n"));
  const std::string whole(view);
  EXPECT_NO_THROW(Json::parse(whole, "document")) << "the whole is JSON";
  EXPECT_EQ(view.find("pinned") == std::string_view::npos, sealed());
}

TEST_P(Document, IsNeverWrittenTwiceWithTheSameSalt) { EXPECT_NE(encoded(), encoded()); }

TEST_P(Document, RefusesEveryChangedBit) {
  const Bytes text = encoded();
  // Without a key the salt is not used.
  const size_t salt_start = as_text(text).find("\"salt\":\"") + 8;
  for (size_t at = 0; at < text.size(); ++at) {
    if (!sealed() && at >= salt_start && at < salt_start + 64) continue;
    for (unsigned bit = 0; bit < 8; ++bit) {
      Bytes changed = text;
      changed[at] ^= static_cast<std::byte>(1u << bit);
      // Also where it looks as if it were a later version's, which nobody could mend.
      ASSERT_EQ(error_of([&] { decode_document(keyring(), "mark", kName, changed); }).code(),
                ErrorCode::kCorrupt)
          << at << " bit " << bit;
    }
  }
}

TEST_P(Document, RefusesEveryOtherLength) {
  const Bytes text = encoded();
  for (size_t length = 0; length < text.size(); ++length)
    ASSERT_THROW(decode_document(keyring(), "mark", kName, ByteView(text).first(length)), Error)
        << length;
  for (const char* more : {"\n", " ", "x", "}\n", "\n}\n"}) {
    Bytes longer = text;
    for (char c : std::string_view(more)) longer.push_back(static_cast<std::byte>(c));
    EXPECT_THROW(decode_document(keyring(), "mark", kName, longer), Error) << more;
  }
}

TEST_P(Document, RefusesAnotherNameKindAndRepository) {
  const Bytes text = encoded();
  Error error = error_of([&] { decode_document(keyring(), "mark", "elsewhere.json", text); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.message(), "damaged object \"elsewhere.json\"");
  EXPECT_EQ(error.detail(), "It was written under the name \"" + kName + "\".");
  EXPECT_FALSE(error.hint().empty());

  error = error_of([&] { decode_document(keyring(), "backup", kName, text); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.detail(),
            "It is a document of the kind \"mark\" where one of the kind \"backup\" was expected.");

  TestRepository other(GetParam(), 77);
  error = error_of([&] { decode_document(other.repository.keyring(), "mark", kName, text); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_NE(error.detail().find("It belongs to the repository"), std::string::npos);
}

TEST_P(Document, IgnoresUnknownMembersButNotCriticalOnes) {
  Json body = Json::object();
  body.set("later", 1);
  EXPECT_NO_THROW(decode_document(keyring(), "mark", kName,
                                  encode_document(keyring(), "mark", kName, body, target.random)));
  body.set("!later", 1);
  Error error = error_of([&] {
    decode_document(keyring(), "mark", kName,
                    encode_document(keyring(), "mark", kName, body, target.random));
  });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_NE(error.detail().find("\"!later\""), std::string::npos);
}

TEST_P(Document, OfANewerVersionIsSaidToBeNewer) {
  std::string text(as_text(encoded()));
  text.replace(text.find("\"version\":1"), 11, "\"version\":2");
  char& digit = text.at(text.find("\"check\":\"") + 9);  // which holds for its own version
  digit = digit == '0' ? '1' : '0';
  Error error = error_of([&] { decode_document(keyring(), "mark", kName, as_bytes(text)); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_FALSE(error.hint().empty());
}

TEST(DocumentSealing, MustBeThatOfTheRepository) {
  TestRepository plain(Sealing::kNone);
  TestRepository sealed(Sealing::kKeyFile);
  // The same repository id on both sides: somebody without the key plants a document, or takes the
  // sealing off.
  Keyring planter = plain.repository.keyring();
  planter.repository_id = sealed.repository.id();
  const Bytes planted = encode_document(planter, "mark", kName, Json::object(), plain.random);
  Error error =
      error_of([&] { decode_document(sealed.repository.keyring(), "mark", kName, planted); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.detail(), "It is not sealed, and its repository is.");

  const Bytes hidden =
      encode_document(sealed.repository.keyring(), "mark", kName, Json::object(), plain.random);
  error = error_of([&] { decode_document(planter, "mark", kName, hidden); });
  EXPECT_EQ(error.detail(), "It is sealed, and its repository is not.");
  error = error_of([&] { decode_open_document("mark", kName, hidden); });
  EXPECT_EQ(error.detail(), "It is sealed, which no document of its kind is.");
}

TEST(DocumentSealing, SaysThatASealedDocumentWasChanged) {
  TestRepository sealed(Sealing::kKeyFile);
  std::string text(as_text(
      encode_document(sealed.repository.keyring(), "mark", kName, Json::object(), sealed.random)));
  const size_t at = text.find("\"salt\":\"") + 8;
  text[at] = text[at] == '0' ? '1' : '0';
  Error error = error_of(
      [&] { decode_document(sealed.repository.keyring(), "mark", kName, as_bytes(text)); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_NE(error.detail().find("although the key is the repository's"), std::string::npos);
}

TEST(OpenDocument, TellsWhoseItIs) {
  FakeRandom random;
  const Bytes16 id = random.bytes16();
  const Bytes text = encode_open_document(id, "repository", "repo.json", Json::object(), random);
  EXPECT_EQ(decode_open_document("repository", "repo.json", text).repository_id, id);
}

TEST(Header, ReadsBackAndRefusesEveryChangedBit) {
  for (Sealing sealing : {Sealing::kNone, Sealing::kKeyFile}) {
    TestRepository target(sealing);
    const Keyring& keyring = target.repository.keyring();
    const ObjectHeader header = draw_header(kPackKind, keyring, target.random);
    const Bytes bytes = encode_header(header);
    ASSERT_EQ(bytes.size(), kHeaderBytes);
    const ObjectHeader read = decode_header(bytes, kPackKind, keyring, "a pack");
    EXPECT_EQ(read.object_id, header.object_id);
    EXPECT_EQ(read.salt, header.salt);
    EXPECT_EQ(read.sealed, sealing != Sealing::kNone);
    for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      Bytes changed = bytes;
      changed[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
      ASSERT_THROW(decode_header(changed, kPackKind, keyring, "a pack"), Error) << bit;
    }
    EXPECT_EQ(error_of([&] { decode_header(bytes, kManifestKind, keyring, "x"); }).detail(),
              "It is of the kind PACK where one of the kind MANI was expected.");
    EXPECT_EQ(error_of([&] {
                decode_header(ByteView(bytes).first(95), kPackKind, keyring, "x");
              }).detail(),
              "It ends after 95 bytes, within its header.");
  }
}

TEST(Header, HasTheBytesOfTheFormat) {
  ObjectHeader header{.kind = kPackKind,
                      .version = 1,
                      .sealed = true,
                      .repository_id = {},
                      .object_id = {},
                      .salt = {}};
  header.repository_id.bytes.fill(std::byte{0x11});
  header.object_id.bytes.fill(std::byte{0x22});
  header.salt.bytes.fill(std::byte{0x33});
  const Bytes bytes = encode_header(header);
  EXPECT_EQ(to_hex(ByteView(bytes).first(88)), to_hex(as_bytes("HOLDFASTPACK")) +
                                                   "01000000"
                                                   "01000000"
                                                   "00000000" +
                                                   std::string(32, '1') + std::string(32, '2') +
                                                   std::string(64, '3'));
}

}  // namespace
}  // namespace holdfast::repo
