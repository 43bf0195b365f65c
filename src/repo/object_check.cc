#include "repo/object_check.h"

#include "base/error.h"
#include "codec/digest.h"

namespace holdfast::repo {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;

void check_open_document(const Repository& repository, const KindOfObject& kind,
                         const std::string& name) {
  const std::optional<Bytes> text = store::read_whole(repository.store(), name, kMaxDocumentBytes);
  if (!text) throw_damaged(name, "It is missing.");
  const OpenDocument document = decode_open_document(kind.document, own_name(kind, name), *text);
  if (document.repository_id != repository.id())
    throw_damaged(name, "It belongs to another repository.");
}

void check_sections(const Repository& repository, const KindOfObject& kind,
                    const std::string& name) {
  std::optional<ObjectReader> object = ObjectReader::open(repository.store(), repository.keyring(),
                                                          kind.code, name, own_name(kind, name));
  if (!object) throw_damaged(name, "It is missing.");
  while (object->next()) {
  }
}

}  // namespace

std::string own_name(const KindOfObject& kind, const std::string& name) {
  constexpr std::string_view kCopy = ".copy";
  switch (kind.kind) {
    case ObjectKind::kRepositoryCopy:
    case ObjectKind::kKeyCopy:
    case ObjectKind::kLineageCopy:
    case ObjectKind::kBackupCopy:
    case ObjectKind::kManifestCopy: {
      std::string self = name;
      return self.erase(self.rfind(kCopy), kCopy.size());
    }
    case ObjectKind::kHistoryCopy:
      return history_of_copy(name).value();
    case ObjectKind::kClusterNameCopy: {
      const size_t number = name.rfind('/');
      const size_t called = name.rfind('/', number - 1) + 1;
      return cluster_names_folder(name.substr(called, number - called)) + name.substr(number + 1);
    }
    default:
      return name;
  }
}

void check_object(const Repository& repository, const KindOfObject& kind, const std::string& name) {
  switch (kind.shape) {
    case ObjectShape::kOpenDocument:
      return check_open_document(repository, kind, name);
    case ObjectShape::kDocument:
      if (!repository.read_document(kind.document, own_name(kind, name), name))
        throw_damaged(name, "It is missing.");
      return;
    case ObjectShape::kSections:
      return check_sections(repository, kind, name);
    case ObjectShape::kExtents:
      HF_CHECK(false);
  }
}

Bytes32 object_sha256(const Repository& repository, const std::string& name) {
  codec::Sha256 digest;
  Bytes piece(kPieceBytes);
  for (uint64_t offset = 0;;) {
    const std::optional<size_t> count = repository.store().read_into(name, offset, piece);
    if (!count) throw_damaged(name, "It is missing.");
    digest.update(ByteView(piece).first(*count));
    offset += *count;
    if (*count < piece.size()) return digest.finish();
  }
}

}  // namespace holdfast::repo
