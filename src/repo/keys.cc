#include "repo/keys.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "repo/fields.h"

namespace holdfast::repo {
namespace {

constexpr size_t kKeyBytes = 32;
constexpr size_t kHexKeyBytes = 2 * kKeyBytes;
constexpr size_t kArgonSaltBytes = 32;
constexpr std::string_view kAssociatedText = "holdfast data key 1";
constexpr std::string_view kWrappingInfo = "holdfast wrapping key 1";

// How a data key was wrapped; its number stands in the associated data.
struct Wrapping {
  std::string_view name;
  uint8_t number;
};
constexpr Wrapping kPassphrase = {"passphrase", 1};
constexpr Wrapping kKeyFile = {"key_file", 2};

const Wrapping& wrapping_of(const KeySource& source) {
  HF_CHECK(source.passphrase.empty() == source.key_file.has_value());
  return source.key_file ? kKeyFile : kPassphrase;
}

// What must be the same when the key is unwrapped: the place it stands in and how its wrapping key
// was made.
struct WrapParameters {
  codec::Argon2Cost cost = {.memory_kib = 0, .iterations = 0, .lanes = 0};
  Bytes32 salt = {};
};

Bytes associated_data(const Wrapping& wrapping, const WrapParameters& parameters,
                      const Bytes16& repository_id, const Bytes16& key_id) {
  ByteWriter out;
  out.bytes(as_bytes(kAssociatedText))
      .bytes(repository_id.view())
      .bytes(key_id.view())
      .u8(wrapping.number)
      .u32(parameters.cost.memory_kib)
      .u32(parameters.cost.iterations)
      .u32(parameters.cost.lanes)
      .bytes(parameters.salt.view());
  return out.take();
}

codec::SecretKey wrapping_key(const KeySource& source, const WrapParameters& parameters,
                              const Bytes16& repository_id) {
  if (!source.key_file)
    return codec::argon2id(source.passphrase, parameters.salt.view(), parameters.cost);
  Bytes derived =
      codec::hkdf_sha256(source.key_file->view(), repository_id.view(), kWrappingInfo, kKeyBytes);
  codec::SecretKey key = codec::SecretKey::from_bytes(derived);
  codec::wipe(derived);
  return key;
}

static_assert(sizeof(WrapParameters::salt) == kArgonSaltBytes);

}  // namespace

void require_private(std::string_view what, const std::string& path, uint32_t mode) {
  if ((mode & (S_IROTH | S_IWOTH)) != 0)
    throw Error({.code = ErrorCode::kPermission,
                 .message = fmt::format("{} \"{}\" is open to everybody", what, path),
                 .detail = fmt::format("Its mode is {:04o}.", mode & 07777),
                 .hint = fmt::format("Run: chmod 0600 {}", shell_quote(path))});
}

codec::SecretKey read_key_file(const std::string& path) {
  std::optional<struct stat> status = stat_if_exists(path);
  if (!status)
    throw Error({.code = ErrorCode::kNotFound,
                 .message = fmt::format("key file \"{}\" does not exist", path),
                 .hint = "Check key_file in the configuration. A lost key file cannot be made "
                         "again: look for your "
                         "copy of it, or open the repository by its passphrase if it has one."});
  require_private("key file", path, status->st_mode);

  constexpr off_t kMaxKeyFileBytes = kHexKeyBytes + 2;
  Bytes content;
  if (S_ISREG(status->st_mode) && status->st_size <= kMaxKeyFileBytes) content = read_file(path);
  std::optional<codec::SecretKey> key;
  if (content.size() == kKeyBytes) {
    key = codec::SecretKey::from_bytes(content);
  } else {
    std::string_view text = as_text(content);
    if (text.ends_with('\n')) text.remove_suffix(1);
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (text.size() == kHexKeyBytes)
      if (std::optional<Bytes> bytes = parse_hex(text)) {
        key = codec::SecretKey::from_bytes(*bytes);
        codec::wipe(*bytes);
      }
  }
  codec::wipe(content);
  if (!key)
    throw Error({.code = ErrorCode::kConfiguration,
                 .message = fmt::format("\"{}\" is not a key file", path),
                 .detail = "A key file holds 32 bytes, or 64 hexadecimal digits and a line end.",
                 .hint = "Check key_file in the configuration."});
  return *key;
}

void create_key_file(const std::string& path, RandomSource& random) {
  codec::SecretKey key = codec::SecretKey::generate(random);
  std::string text = to_hex(key.view()) + "\n";
  DurableFile file(path, 0600);
  file.write(as_bytes(text));
  codec::wipe(std::as_writable_bytes(std::span(text)));
  file.commit(DurableFile::Mode::kCreate);
}

Json wrap_data_key(const codec::SecretKey& data_key, const KeySource& source,
                   const Bytes16& repository_id, const Bytes16& key_id, RandomSource& random) {
  const Wrapping& wrapping = wrapping_of(source);
  WrapParameters parameters;
  if (!source.key_file) parameters = {.cost = codec::Argon2Cost{}, .salt = random.bytes32()};
  Bytes box = codec::seal_box(wrapping_key(source, parameters, repository_id), data_key.view(),
                              associated_data(wrapping, parameters, repository_id, key_id), random);

  Json body = Json::object();
  body.set("kind", wrapping.name);
  if (!source.key_file)
    body.set("argon2", Json::object()
                           .set("memory_kib", parameters.cost.memory_kib)
                           .set("iterations", parameters.cost.iterations)
                           .set("lanes", parameters.cost.lanes)
                           .set("salt", to_hex(parameters.salt.view())));
  body.set("wrapped", to_hex(box));
  return body;
}

std::optional<codec::SecretKey> unwrap_data_key(const Json& body, const KeySource& source,
                                                const Bytes16& repository_id,
                                                const Bytes16& key_id) {
  const Wrapping& wrapping = wrapping_of(source);
  if (body.at("kind").as_string() != wrapping.name) return std::nullopt;
  WrapParameters parameters;
  if (!source.key_file) {
    const Json& argon2 = body.at("argon2");
    parameters.cost = {.memory_kib = number_member<uint32_t>(argon2, "memory_kib"),
                       .iterations = number_member<uint32_t>(argon2, "iterations"),
                       .lanes = number_member<uint32_t>(argon2, "lanes")};
    parameters.salt = hex_member<kArgonSaltBytes>(argon2, "salt");
  }
  std::optional<Bytes> box = parse_hex(body.at("wrapped").as_string());
  if (!box) throw_member("wrapped", "It is not hexadecimal.");
  std::optional<Bytes> plain =
      codec::open_box(wrapping_key(source, parameters, repository_id), *box,
                      associated_data(wrapping, parameters, repository_id, key_id));
  if (!plain) return std::nullopt;
  codec::SecretKey key = codec::SecretKey::from_bytes(*plain);
  codec::wipe(*plain);
  return key;
}

}  // namespace holdfast::repo
