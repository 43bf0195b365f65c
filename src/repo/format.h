// format.h: the two shapes in which everything but packs is stored: documents and binary objects.
//
// Normative: docs/design/repository-format.md, sections 2 to 4. Both state their own name inside
// the sealed part, so that an object under another name is refused; both are refused when they are
// unsealed in a sealed repository. What is read is untrusted: nothing is allocated for a length
// that was not checked against the limits here.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/json.h"
#include "base/random.h"
#include "codec/compression.h"
#include "codec/seal.h"
#include "store/store.h"

namespace holdfast::repo {

// Four characters as a little-endian number: the kind of a binary object.
constexpr uint32_t object_kind(const char (&text)[5]) {
  return static_cast<uint32_t>(static_cast<unsigned char>(text[0])) |
         static_cast<uint32_t>(static_cast<unsigned char>(text[1])) << 8 |
         static_cast<uint32_t>(static_cast<unsigned char>(text[2])) << 16 |
         static_cast<uint32_t>(static_cast<unsigned char>(text[3])) << 24;
}
inline constexpr uint32_t kManifestKind = object_kind("MANI");
inline constexpr uint32_t kPackKind = object_kind("PACK");
inline constexpr uint32_t kRefsKind = object_kind("REFS");
inline constexpr uint32_t kWalSegmentKind = object_kind("WALS");
inline constexpr uint32_t kWalFileKind = object_kind("WALF");
inline constexpr uint32_t kVerifiedKind = object_kind("VRFY");

inline constexpr size_t kHeaderBytes = 96;
inline constexpr size_t kMaxRawBytes = size_t{8} << 20;                     // before compression
inline constexpr size_t kMaxUnitBytes = kMaxRawBytes + (size_t{64} << 10);  // without the check
inline constexpr size_t kMaxDocumentBytes = size_t{4} << 20;

// What sealing needs to know of the repository; lives as long as the Repository.
struct Keyring {
  Bytes16 repository_id;
  std::optional<codec::SecretKey> data_key;  // set: everything is sealed
  Bytes content_digest_key;                  // 64 bytes
  const codec::SecretKey* key() const { return data_key ? &*data_key : nullptr; }
};

// What every reader of this room throws for bytes that are not what was written: kCorrupt, `damaged
// object "NAME"`, `detail` and the one hint.
[[noreturn]] void throw_damaged(std::string_view name, std::string detail,
                                const char* file = __builtin_FILE(), int line = __builtin_LINE());

// The same for what only a later version of this program can read: kUnsupported.
[[noreturn]] void throw_newer(std::string_view name, std::string detail,
                              const char* file = __builtin_FILE(), int line = __builtin_LINE());

// --- documents

// The text of a document named `name` of `kind`; the member "self" is put first into `body` (an
// object). Draws object id and salt.
Bytes encode_document(const Keyring& keyring, std::string_view kind, const std::string& name,
                      const Json& body, RandomSource& random);
// The body. Throws kCorrupt (damaged, another kind, name or repository, not sealed as the
// repository is; also when it does not open: the key was proven when the data key was unwrapped),
// kUnsupported (newer version or critical member "!…" unknown to this program).
Json decode_document(const Keyring& keyring, std::string_view kind, const std::string& name,
                     ByteView text);
// repo.json and keys: never sealed, readable before anything is known. `repository_id` nullopt:
// whatever stands in it.
struct OpenDocument {
  Bytes16 repository_id;
  Json body;
};
Bytes encode_open_document(const Bytes16& repository_id, std::string_view kind,
                           const std::string& name, const Json& body, RandomSource& random);
OpenDocument decode_open_document(std::string_view kind, const std::string& name, ByteView text);

// --- binary objects

// The 96-byte header.
struct ObjectHeader {
  uint32_t kind = 0;
  uint32_t version = 1;
  bool sealed = false;
  Bytes16 repository_id;
  Bytes16 object_id;
  Bytes32 salt;
};
Bytes encode_header(const ObjectHeader& header);
// Throws kUnsupported (unknown version or flags) and kCorrupt, also when it is of another
// repository or not sealed as this one is.
ObjectHeader decode_header(ByteView bytes, uint32_t kind, const Keyring& keyring,
                           std::string_view name);
// A fresh header (random id and salt) and its seal.
ObjectHeader draw_header(uint32_t kind, const Keyring& keyring, RandomSource& random);
codec::ObjectSeal make_seal(const ObjectHeader& header, const Keyring& keyring);

// Writes a binary object section by section to an upload.
class ObjectWriter {
 public:
  // Starts the upload of `name` and writes the header. The first section must be put by the caller
  // and begin with text(name): section 1, once. The types of the others ascend, equal ones with
  // equal flags (HF_CHECK).
  ObjectWriter(store::Store& target, const Keyring& keyring, uint32_t kind, const std::string& name,
               RandomSource& random);
  ~ObjectWriter();
  void section(uint16_t type, ByteView plain, bool critical = true);
  // The same, compressed: raw-length, compression, frame.
  void compressed_section(uint16_t type, ByteView raw, codec::Compressor& compressor,
                          bool critical = true);
  // The same in two steps, the first by any thread. `scratch` is used again.
  struct Compressed {
    size_t raw_bytes = 0;
    codec::Compression algorithm = codec::Compression::kNone;
    Bytes frame;
  };
  static Compressed compress(ByteView raw, codec::Compressor& compressor, RawBytes& scratch);
  void compressed_section(uint16_t type, const Compressed& compressed, bool critical = true);
  // Writes the end and commits. Returns the object's length and the SHA-256 of its bytes. Throws
  // kAlreadyExists when the name is taken.
  struct Committed {
    uint64_t bytes = 0;
    Bytes32 sha256;
    Bytes16 object_id;
  };
  Committed commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Reads a binary object section by section, in order; each is opened, and its place is proven.
// Memory: one section.
class ObjectReader {
 public:
  // nullopt when there is no such object. `source_name` is what the store calls it;
  // `self` what it must call itself (they differ for copies).
  static std::optional<ObjectReader> open(store::Store& source, const Keyring& keyring,
                                          uint32_t kind, const std::string& source_name,
                                          const std::string& self);
  // The same for an object whose bytes are in memory; they must outlive the reader.
  static ObjectReader open_bytes(ByteView whole, const Keyring& keyring, uint32_t kind,
                                 const std::string& source_name, const std::string& self);
  ~ObjectReader();
  ObjectReader(ObjectReader&&) noexcept;
  const ObjectHeader& header() const;
  struct Section {
    uint16_t type = 0;
    bool critical = false;
    Bytes plain;
  };
  // The next section; nullopt after the end section, which was checked, and ever after. The first
  // one begins with "self", which was compared with what open() was given (in MANI within the
  // compressed bytes): see after_self. Throws kCorrupt.
  std::optional<Section> next();
  // The raw bytes of a compressed section's plain bytes; at most `limit`.
  Bytes expand(const Section& section, size_t limit = kMaxRawBytes);
  // For a section whose type the caller does not know: nothing, unless it is critical; then throws
  // kUnsupported.
  void skip_unknown(const Section& section) const;

 private:
  struct State;
  explicit ObjectReader(std::unique_ptr<State> state);
  static void start(State& state, const Keyring& keyring, uint32_t kind);
  std::unique_ptr<State> state_;
};

// The fields of an object's first section that stand behind "self" (of MANI: of what expand() made
// of it). `what` is for errors and must outlive it.
ByteReader after_self(ByteView first_section, std::string_view what);

}  // namespace holdfast::repo
