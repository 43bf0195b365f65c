#include "repo/format.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "codec/digest.h"

namespace holdfast::repo {
namespace {

constexpr int64_t kDocumentVersion = 1;
constexpr uint32_t kObjectVersion = 1;
constexpr size_t kMaxDocumentLineBytes = 512;
constexpr std::string_view kDocumentEnd = "\n}\n";
constexpr std::string_view kSealedName = "aes-256-gcm";
constexpr std::string_view kUnsealedName = "none";

constexpr std::string_view kObjectMagic = "HOLDFAST";
constexpr uint32_t kSealedFlag = 1;
constexpr size_t kCheckedHeaderBytes = 88;
static_assert(kHeaderBytes == kCheckedHeaderBytes + 8);

// The code that stands for a document's kind in the associated data of its seal.
struct DocumentKind {
  std::string_view name;
  uint32_t code;
};
constexpr DocumentKind kDocumentKinds[] = {
    {"repository", object_kind("REPO")},   {"key", object_kind("KEYW")},
    {"lineage", object_kind("LINE")},      {"backup", object_kind("BKUP")},
    {"set-aside", object_kind("SETA")},    {"mark", object_kind("MARK")},
    {"intent", object_kind("INTN")},       {"doomed", object_kind("DOOM")},
    {"drill", object_kind("DRIL")},        {"lease", object_kind("LEAS")},
    {"cluster-name", object_kind("CNAM")},
};

uint32_t document_code(std::string_view kind) {
  const DocumentKind* found = std::ranges::find(kDocumentKinds, kind, &DocumentKind::name);
  HF_CHECK(found != std::end(kDocumentKinds));
  return found->code;
}

std::string kind_text(uint32_t kind) {
  std::string text;
  for (unsigned shift = 0; shift < 32; shift += 8) {
    char c = static_cast<char>(kind >> shift & 0xFF);
    text.push_back(c >= ' ' && c <= '~' ? c : '?');
  }
  return text;
}

void append(Bytes& to, ByteView bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

constexpr std::string_view kHistoryEnding = ".history";

// Every server that is on a timeline keeps its history.
std::string where_else(std::string_view object) {
  const size_t suffix = object.find(kHistoryEnding);
  if (suffix == std::string_view::npos)
    return "Take the object from a copy of the repository, or restore another backup.";
  const std::string_view file =
      object.substr(0, suffix + kHistoryEnding.size()).substr(object.rfind('/', suffix) + 1);
  return fmt::format(
      "The server still has the file in its pg_wal: \"holdfast wal push {}\" archives it anew.",
      file);
}

}  // namespace

void throw_damaged(std::string_view name, std::string detail, const char* file, int line) {
  throw Error({.code = ErrorCode::kCorrupt,
               .message = fmt::format("damaged object \"{}\"", name),
               .detail = std::move(detail),
               .hint = where_else(name)},
              file, line);
}

void throw_newer(std::string_view name, std::string detail, const char* file, int line) {
  throw Error({.code = ErrorCode::kUnsupported,
               .message = fmt::format("object \"{}\" needs a newer version of this program", name),
               .detail = std::move(detail),
               .hint = "Use the version of holdfast that wrote the repository, or a later one."},
              file, line);
}

// --- Documents ----------------------------------------------------------------------------------

namespace {

// The first line of a document, which says how the body is to be opened.
struct DocumentLine {
  std::string kind;
  Bytes16 repository_id;
  Bytes16 object_id;
  Bytes32 salt;
  bool sealed = false;
  Bytes16 check;
};

// In exactly this form: a reader compares what it has parsed with what it would have written.
std::string to_text(const DocumentLine& line, int64_t version = kDocumentVersion) {
  return fmt::format(
      R"({{"holdfast":"{}","version":{},"repository":"{}","object":"{}","salt":"{}","seal":"{}","check":"{}","body":)"
      "\n",
      line.kind, version, to_hex(line.repository_id.view()), to_hex(line.object_id.view()),
      to_hex(line.salt.view()), line.sealed ? kSealedName : kUnsealedName,
      to_hex(line.check.view()));
}

codec::ObjectSeal document_seal(const DocumentLine& line, const codec::SecretKey* key) {
  return codec::ObjectSeal(key, line.salt,
                           {.repository_id = line.repository_id,
                            .kind = document_code(line.kind),
                            .version = static_cast<uint32_t>(kDocumentVersion),
                            .object_id = line.object_id});
}

Bytes encode_body(DocumentLine line, const codec::SecretKey* key, const std::string& name,
                  const Json& body) {
  Json named = Json::object();
  named.set("self", name);
  for (const auto& [member, value] : body.members())
    if (member != "self") named.set(member, value);

  Bytes unit = to_bytes(named.dump());
  unit.resize(unit.size() + codec::kSealBytes);
  line.sealed = key != nullptr;
  document_seal(line, key).seal(0, unit);
  ByteView bytes = ByteView(unit).first(unit.size() - codec::kSealBytes);
  std::ranges::copy(ByteView(unit).last(codec::kSealBytes), line.check.bytes.begin());

  Bytes text = to_bytes(to_text(line));
  if (line.sealed)
    append(text, as_bytes(fmt::format("\"{}\"", to_base64(bytes))));
  else
    append(text, bytes);
  append(text, as_bytes(kDocumentEnd));
  HF_CHECK(text.size() <= kMaxDocumentBytes);
  return text;
}

template <size_t N>
ByteArray<N> hex_member(const Json& line, std::string_view key, std::string_view name) {
  std::optional<ByteArray<N>> value = parse_hex_array<N>(line.at(key).as_string());
  if (!value)
    throw_damaged(
        name, fmt::format("The member \"{}\" of its first line is not {} hexadecimal digits.", key,
                          2 * N));
  return *value;
}

void refuse_critical_members(const Json& object, std::string_view name) {
  for (const auto& [member, value] : object.members())
    if (member.starts_with('!'))
      throw_newer(name, fmt::format("It has the critical member \"{}\", which this version does "
                                    "not know.",
                                    member));
}

struct SplitDocument {
  DocumentLine line;
  std::string_view body;  // as it stands
  // It states another version in a line of ours: one bit of that has changed, where the body opens.
  bool is_other_version = false;
};

[[noreturn]] void throw_other_version(std::string_view name) {
  throw_newer(name, fmt::format("Its format has another version; this program knows version {}.",
                                kDocumentVersion));
}

SplitDocument split_document(std::string_view kind, std::string_view name, ByteView bytes) {
  std::string_view text = as_text(bytes);
  if (text.size() > kMaxDocumentBytes)
    throw_damaged(name, fmt::format("It has {} bytes; a document has at most {}.", text.size(),
                                    kMaxDocumentBytes));
  size_t line_end = text.substr(0, kMaxDocumentLineBytes).find('\n');
  if (line_end == std::string_view::npos)
    throw_damaged(name,
                  fmt::format("It has no line end in its first {} bytes.", kMaxDocumentLineBytes));
  std::string_view first = text.substr(0, line_end + 1);
  std::string_view rest = text.substr(line_end + 1);
  if (!rest.ends_with(kDocumentEnd)) throw_damaged(name, "Its end is missing.");

  Json parsed =
      Json::parse(std::string(first) + "null}", fmt::format("first line of \"{}\"", name));
  refuse_critical_members(parsed, name);
  SplitDocument document;
  document.body = rest.substr(0, rest.size() - kDocumentEnd.size());
  DocumentLine& line = document.line;
  line.kind = parsed.at("holdfast").as_string();
  if (line.kind != kind)
    throw_damaged(
        name, fmt::format(
                  "It is a document of the kind \"{}\" where one of the kind \"{}\" was expected.",
                  line.kind, kind));
  const int64_t version = parsed.at("version").as_i64();
  document.is_other_version = version != kDocumentVersion;
  const std::optional<Error> damage = damage_of([&] {
    // Which seals there are is the version's.
    const std::string& seal = parsed.at("seal").as_string();
    if (seal != kSealedName && seal != kUnsealedName)
      throw_damaged(name, fmt::format("It is sealed by \"{}\", which does not exist.", seal));
    line.sealed = seal == kSealedName;
    line.repository_id = hex_member<16>(parsed, "repository", name);
    line.object_id = hex_member<16>(parsed, "object", name);
    line.salt = hex_member<32>(parsed, "salt", name);
    line.check = hex_member<16>(parsed, "check", name);
    if (to_text(line, version) != first)
      throw_damaged(name, "Its first line does not have the form of a document's.");
  });
  if (damage && document.is_other_version) throw_other_version(name);
  if (damage) throw Error(*damage);
  return document;
}

Json open_body(const SplitDocument& document, const codec::SecretKey* key,
               const std::string& name) {
  Bytes unit;
  if (document.line.sealed) {
    std::string_view quoted = document.body;
    std::optional<Bytes> bytes;
    if (quoted.size() >= 2 && quoted.front() == '"' && quoted.back() == '"')
      bytes = parse_base64(quoted.substr(1, quoted.size() - 2));
    if (!bytes) throw_damaged(name, "Its sealed body is not base64.");
    unit = std::move(*bytes);
  } else {
    unit = to_bytes(document.body);
  }
  append(unit, document.line.check.view());
  const bool is_open = document_seal(document.line, key).open(0, unit);
  if (document.is_other_version && !is_open) throw_other_version(name);
  if (document.is_other_version)
    throw_damaged(name, "Its version was changed after it was written.");
  if (!is_open)
    throw_damaged(name,
                  document.line.sealed
                      ? "Its seal does not open, although the key is the repository's: it was "
                        "changed after it was written."
                      : "Its check does not hold: it was changed after it was written.");

  std::string_view plain = as_text(unit).substr(0, unit.size() - codec::kSealBytes);
  Json body = Json::parse(plain, fmt::format("object \"{}\"", name));
  refuse_critical_members(body, name);
  if (const std::string& self = body.at("self").as_string(); self != name)
    throw_damaged(name, fmt::format("It was written under the name \"{}\".", self));
  return body;
}

}  // namespace

Bytes encode_document(const Keyring& keyring, std::string_view kind, const std::string& name,
                      const Json& body, RandomSource& random) {
  return encode_body({.kind = std::string(kind),
                      .repository_id = keyring.repository_id,
                      .object_id = random.bytes16(),
                      .salt = random.bytes32(),
                      .sealed = false,
                      .check = {}},
                     keyring.key(), name, body);
}

Json decode_document(const Keyring& keyring, std::string_view kind, const std::string& name,
                     ByteView text) {
  SplitDocument document = split_document(kind, name, text);
  if (document.line.repository_id != keyring.repository_id)
    throw_damaged(name, fmt::format("It belongs to the repository {}; this one is {}.",
                                    to_hex(document.line.repository_id.view()),
                                    to_hex(keyring.repository_id.view())));
  if (document.line.sealed != (keyring.key() != nullptr))
    throw_damaged(name, document.line.sealed ? "It is sealed, and its repository is not."
                                             : "It is not sealed, and its repository is.");
  return open_body(document, keyring.key(), name);
}

Bytes encode_open_document(const Bytes16& repository_id, std::string_view kind,
                           const std::string& name, const Json& body, RandomSource& random) {
  return encode_body({.kind = std::string(kind),
                      .repository_id = repository_id,
                      .object_id = random.bytes16(),
                      .salt = random.bytes32(),
                      .sealed = false,
                      .check = {}},
                     nullptr, name, body);
}

OpenDocument decode_open_document(std::string_view kind, const std::string& name, ByteView text) {
  SplitDocument document = split_document(kind, name, text);
  if (document.line.sealed) throw_damaged(name, "It is sealed, which no document of its kind is.");
  return {.repository_id = document.line.repository_id, .body = open_body(document, nullptr, name)};
}

// --- Headers ------------------------------------------------------------------------------------

Bytes encode_header(const ObjectHeader& header) {
  ByteWriter out;
  out.bytes(as_bytes(kObjectMagic))
      .u32(header.kind)
      .u32(header.version)
      .u32(header.sealed ? kSealedFlag : 0)
      .u32(0)
      .bytes(header.repository_id.view())
      .bytes(header.object_id.view())
      .bytes(header.salt.view());
  HF_CHECK(out.size() == kCheckedHeaderBytes);
  Bytes16 check = codec::xxh3_128(out.view());
  out.bytes(check.view().first(kHeaderBytes - kCheckedHeaderBytes));
  return out.take();
}

ObjectHeader decode_header(ByteView bytes, uint32_t kind, const Keyring& keyring,
                           std::string_view name) {
  if (bytes.size() < kHeaderBytes)
    throw_damaged(name, fmt::format("It ends after {} bytes, within its header.", bytes.size()));
  bytes = bytes.first(kHeaderBytes);
  Bytes16 check = codec::xxh3_128(bytes.first(kCheckedHeaderBytes));
  if (as_text(bytes.first(kObjectMagic.size())) != kObjectMagic ||
      !std::ranges::equal(bytes.subspan(kCheckedHeaderBytes),
                          check.view().first(kHeaderBytes - kCheckedHeaderBytes)))
    throw_damaged(name, "Its header is not one, or was changed.");

  ByteReader in(bytes, "object header");
  in.skip(kObjectMagic.size());
  ObjectHeader header;
  header.kind = in.u32();
  header.version = in.u32();
  uint32_t flags = in.u32();
  uint32_t reserved = in.u32();
  header.sealed = (flags & kSealedFlag) != 0;
  header.repository_id.bytes = in.array<16>();
  header.object_id.bytes = in.array<16>();
  header.salt.bytes = in.array<32>();
  if (header.kind != kind)
    throw_damaged(name, fmt::format("It is of the kind {} where one of the kind {} was expected.",
                                    kind_text(header.kind), kind_text(kind)));
  if (header.version != kObjectVersion)
    throw_newer(name, fmt::format("Its format has version {}; this program knows version {}.",
                                  header.version, kObjectVersion));
  if ((flags & ~kSealedFlag) != 0 || reserved != 0)
    throw_newer(name, fmt::format("Its header has the flags {:#x} and {:#x} in the reserved field.",
                                  flags, reserved));
  if (header.repository_id != keyring.repository_id)
    throw_damaged(name, fmt::format("It belongs to the repository {}; this one is {}.",
                                    to_hex(header.repository_id.view()),
                                    to_hex(keyring.repository_id.view())));
  if (header.sealed != (keyring.key() != nullptr))
    throw_damaged(name, header.sealed ? "It is sealed, and its repository is not."
                                      : "It is not sealed, and its repository is.");
  return header;
}

ObjectHeader draw_header(uint32_t kind, const Keyring& keyring, RandomSource& random) {
  return {.kind = kind,
          .version = kObjectVersion,
          .sealed = keyring.key() != nullptr,
          .repository_id = keyring.repository_id,
          .object_id = random.bytes16(),
          .salt = random.bytes32()};
}

codec::ObjectSeal make_seal(const ObjectHeader& header, const Keyring& keyring) {
  HF_CHECK(header.sealed == (keyring.key() != nullptr));
  return codec::ObjectSeal(keyring.key(), header.salt,
                           {.repository_id = header.repository_id,
                            .kind = header.kind,
                            .version = header.version,
                            .object_id = header.object_id});
}

}  // namespace holdfast::repo
