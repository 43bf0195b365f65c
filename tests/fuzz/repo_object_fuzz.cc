// Binary objects: any bytes, and any sections under checks that hold.
#include "base/error.h"
#include "repo/format.h"

using namespace holdfast;

namespace {

constexpr char kName[] = "clusters/main/15-1/refs/x";

const repo::Keyring& keyring() {
  static const repo::Keyring ring = {
      .repository_id = {}, .data_key = {}, .content_digest_key = Bytes(64)};
  return ring;
}

void read(ByteView bytes, uint32_t kind) {
  try {
    repo::ObjectReader reader =
        repo::ObjectReader::open_bytes(bytes, keyring(), kind, kName, kName);
    while (std::optional<repo::ObjectReader::Section> section = reader.next()) {
      try {
        reader.expand(*section);
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
}

// Sections cut from the input (type, flags, length), each sealed in its place, and an end.
Bytes dressed(ByteView input, uint32_t kind) {
  const repo::ObjectHeader header{.kind = kind,
                                  .version = 1,
                                  .sealed = false,
                                  .repository_id = {},
                                  .object_id = {},
                                  .salt = {}};
  codec::ObjectSeal seal = repo::make_seal(header, keyring());
  Bytes object = repo::encode_header(header);
  uint64_t before = 0;
  uint32_t index = 0;
  auto put = [&](uint16_t type, uint16_t flags, ByteView plain) {
    const uint64_t ordinal = uint64_t{type} << 48 | uint64_t{flags} << 32 | index;
    if (ordinal < before) return;
    before = ordinal + 1;
    ++index;
    Bytes unit(plain.begin(), plain.end());
    unit.resize(unit.size() + codec::kSealBytes);
    seal.seal(ordinal, unit);
    ByteWriter out;
    out.u16(type).u16(flags).u32(static_cast<uint32_t>(plain.size())).bytes(unit);
    object.insert(object.end(), out.view().begin(), out.view().end());
  };
  ByteWriter self;
  self.text(kName);
  if (!input.empty() && input[0] < std::byte{0xF0}) put(1, 1, self.view());
  while (input.size() >= 4) {
    const uint16_t type = load_le<uint8_t>(input.data());
    const uint16_t flags = load_le<uint8_t>(input.data() + 1);
    const size_t length = std::min<size_t>(load_le<uint16_t>(input.data() + 2), input.size() - 4);
    put(type, flags, input.subspan(4, length));
    input = input.subspan(4 + length);
  }
  ByteWriter count;
  count.u32(index);
  put(0xFFFF, 1, count.view());
  return object;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input = std::as_bytes(std::span(data, size));
  for (uint32_t kind : {repo::kRefsKind, repo::kManifestKind}) {
    read(input, kind);
    read(dressed(input, kind), kind);
  }
  return 0;
}
