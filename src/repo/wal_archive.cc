#include "repo/wal_archive.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "base/task_group.h"
#include "codec/digest.h"
#include "repo/compressed_section.h"
#include "repo/fields.h"
#include "repo/two_places.h"

namespace holdfast::repo {
namespace {

constexpr uint16_t kMetadataSection = 1;
constexpr uint16_t kContentSection = 2;
constexpr std::string_view kPartialMark = ".partial.";
// What a reader must expect, more than a writer makes of it now.
constexpr size_t kMaxSegmentPieceBytes = size_t{4} << 20;

Json file_info_json(const WalFileInfo& info) {
  Json json = Json::object();
  json.set("file", info.file_name)
      .set("bytes", info.bytes)
      .set("sha256", to_hex(info.sha256.view()))
      .set("system_identifier", std::to_string(info.system_identifier))
      .set("host", info.host)
      .set("pushed", to_json(info.pushed));
  return json;
}

WalFileInfo wal_file_info_from_json(const Json& json) {
  return {.file_name = json.at("file").as_string(),
          .bytes = json.at("bytes").as_u64(),
          .sha256 = hex_member<32>(json, "sha256"),
          .system_identifier = text_number_member(json, "system_identifier"),
          .host = json.at("host").as_string(),
          .pushed = time_member(json, "pushed")};
}

// --- section 1: the object's own name, and the metadata

Bytes encode_metadata(const std::string& name, const Json& json) {
  ByteWriter writer;
  writer.text(name).text(json.dump(0));
  return writer.take();
}

// Hashes pieces one behind the other, by a thread of its own; a piece may be read meanwhile.
class PieceHasher {
 public:
  PieceHasher() {
    thread_.start([this](const std::stop_token& stop) { work(stop); });
  }

  // Memory for the next piece.
  std::span<std::byte> room(size_t bytes) {
    wait_until_left(kBuffers - 1);
    MutexLock lock(mutex_);
    RawBytes& buffer = buffers_[given_ % kBuffers];
    if (buffer.size() < bytes) buffer = RawBytes(bytes);
    return buffer.span().first(bytes);
  }
  // `piece`: what room() gave last, filled.
  void hash(ByteView piece) {
    {
      MutexLock lock(mutex_);
      pieces_[given_++ % kBuffers] = piece;
    }
    changed_.notify_all();
  }
  Bytes32 finish() {
    wait_until_left(0);
    return digest_.finish();
  }

 private:
  static constexpr size_t kBuffers = 4;

  // Until no more than so many pieces are still to be hashed. Throws what the thread has thrown.
  void wait_until_left(size_t left) {
    bool is_done = false;
    {
      MutexLock lock(mutex_);
      is_done = changed_.wait(mutex_, thread_.stop_token(),
                              [&]() HF_REQUIRES(mutex_) { return given_ - hashed_ <= left; });
    }
    if (is_done) return;
    thread_.wait();  // throws: only an error stops it
    HF_CHECK(false);
  }

  void work(const std::stop_token& stop) {
    for (;;) {
      ByteView piece;
      {
        MutexLock lock(mutex_);
        changed_.wait(mutex_, stop, [this]() HF_REQUIRES(mutex_) { return hashed_ < given_; });
        if (stop.stop_requested()) return;
        piece = pieces_[hashed_ % kBuffers];
      }
      digest_.update(piece);
      {
        MutexLock lock(mutex_);
        ++hashed_;
      }
      changed_.notify_all();
    }
  }

  codec::Sha256 digest_;  // the thread's until all is hashed
  Mutex mutex_;
  ConditionVariable changed_;
  std::array<RawBytes, kBuffers> buffers_;  // the caller's
  std::array<ByteView, kBuffers> pieces_ HF_GUARDED_BY(mutex_);
  size_t given_ HF_GUARDED_BY(mutex_) = 0;
  size_t hashed_ HF_GUARDED_BY(mutex_) = 0;
  TaskGroup thread_;  // the last member: joined before the others go
};

bool is_file(pg::WalFileKind kind) {
  return kind == pg::WalFileKind::kHistory || kind == pg::WalFileKind::kBackupHistory;
}

// An object of which the metadata were read.
struct Opened {
  ObjectReader reader;
  Json metadata;
};
Opened read_metadata(ObjectReader reader, const std::string& name) {
  std::optional<ObjectReader::Section> section = reader.next();
  if (!section || section->type != kMetadataSection)
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = fmt::format("object \"{}\" is damaged", name),
                 .detail = "It does not begin with its metadata."});
  std::string what = fmt::format("metadata of \"{}\"", name);
  ByteReader fields = after_self(section->plain, what);
  std::string_view text = fields.text(kMaxUnitBytes);
  fields.expect_end();
  return Opened{.reader = std::move(reader), .metadata = Json::parse(text, what)};
}
// nullopt: there is none. `place`: where it stands.
std::optional<Opened> open_object(const Repository& repository, uint32_t kind,
                                  const std::string& name, const std::string& place) {
  std::optional<ObjectReader> reader =
      ObjectReader::open(repository.store(), repository.keyring(), kind, place, name);
  if (!reader) return std::nullopt;
  return read_metadata(*std::move(reader), place);
}

[[noreturn]] void throw_damaged_content(const std::string& name, std::string detail) {
  throw Error({.code = ErrorCode::kCorrupt,
               .message = fmt::format("object \"{}\" is damaged", name),
               .detail = std::move(detail),
               .hint = "Another copy of the file may still lie in the server's pg_wal directory; "
                       "a new base backup makes recovery independent of it."});
}

// The content of a history or backup history file.
Bytes read_small(Opened object, const std::string& place) {
  const WalFileInfo info = wal_file_info_from_json(object.metadata);
  std::optional<Bytes> content;
  while (std::optional<ObjectReader::Section> section = object.reader.next()) {
    if (section->type == kContentSection)
      content = std::move(section->plain);
    else
      object.reader.skip_unknown(*section);
  }
  if (!content || content->size() != info.bytes || codec::sha256(*content) != info.sha256)
    throw_damaged_content(place, "Its content is not the one that its metadata tells of.");
  return *std::move(content);
}

// What `read(place)` finds of such a file: of a history also at the place of its copy.
template <typename Read>
auto read_at_its_places(const Repository& repository, const std::string& name, const Read& read) {
  const std::optional<std::string> copy = copy_of_history(name);
  if (!copy) return read(name);
  const TwoPlaces places{.first = name, .copy = *copy};
  return read_either(places, read,
                     [&](bool is_damaged) { repository.tell_of_copy(places, is_damaged); });
}

// "<segment>.partial.<digest>" -> the digest; nullopt for any other text.
std::optional<Bytes16> digest_of_partial(std::string_view name) {
  size_t mark = name.find(kPartialMark);
  if (mark == std::string_view::npos) return std::nullopt;
  std::optional<Bytes> bytes = parse_hex(name.substr(mark + kPartialMark.size()));
  Bytes16 digest;
  if (!bytes || bytes->size() != digest.bytes.size()) return std::nullopt;
  std::ranges::copy(*bytes, digest.bytes.begin());
  return digest;
}

}  // namespace

// --- WalArchive

WalArchive::WalArchive(const Repository& repository, const Lineage& lineage)
    : repository_(&repository),
      lineage_(lineage),
      amended_(std::make_shared<AmendedFolder>(repository, lineage.name,
                                               pg::WalSegmentSize(lineage.wal_segment_bytes))) {}

pg::WalSegmentSize WalArchive::segment_size() const {
  return pg::WalSegmentSize(lineage_.wal_segment_bytes);
}

std::string WalArchive::object_name(const pg::WalFileName& file, const Bytes16* partial,
                                    uint64_t number) const {
  return number == 0 ? wal_object_name(lineage_.name, file, segment_size(), partial)
                     : amended_content_name(lineage_.name, file, segment_size(), number);
}

// --- which content

// Object 0 stands in it also when it is absent: who opens it will see.
std::vector<WalArchive::Content> WalArchive::contents(const pg::WalFileName& file,
                                                      const Bytes16* partial,
                                                      const WalAmendments& amendments) const {
  std::vector<Content> all(1);
  all.front().object = object_name(file, partial);
  for (const auto& [number, bytes] : amendments.further)
    all.push_back({.number = number,
                   .object = object_name(file, nullptr, number),
                   .stored_bytes = bytes,
                   .aside = {}});
  for (Content& content : all) {
    const auto sha256 = [&] {
      std::optional<Bytes32> read;
      damage_of([&] {
        if (is_file(file.kind)) {
          if (std::optional<WalFileInfo> info = file_info_of(content.object)) read = info->sha256;
        } else if (std::optional<WalSegmentInfo> info = segment_info_of(content.object)) {
          read = info->sha256;
        }
      });
      return read;
    };
    const std::string name =
        partial != nullptr ? to_hex(partial->view()) : std::to_string(content.number);
    if (const WalMark* mark = repo::set_aside(amendments, name, sha256)) content.aside = *mark;
  }
  return all;
}

std::optional<WalArchive::Content> WalArchive::served(const pg::WalFileName& file,
                                                      const Bytes16* partial,
                                                      const WalAmendments& amendments) const {
  std::vector<Content> all = contents(file, partial, amendments);
  for (auto content = all.rbegin(); content != all.rend(); ++content)
    if (!content->aside) return std::move(*content);
  return std::nullopt;
}

WalAmendments WalArchive::amendments(const pg::WalFileName& file) const {
  return amended_->of(file);
}
void WalArchive::look_again() const { amended_->forget(); }

std::vector<WalArchive::Content> WalArchive::contents(const pg::WalFileName& file,
                                                      const Bytes16* partial) const {
  std::vector<Content> all = contents(file, partial, amendments(file));
  if (std::optional<store::ObjectInfo> first = info_of(all.front().object))
    all.front().stored_bytes = first->bytes;
  else
    all.erase(all.begin());
  return all;
}

std::optional<std::string> WalArchive::served_object(const pg::WalFileName& file,
                                                     const Bytes16* partial) const {
  std::optional<Content> content = served(file, partial, amendments(file));
  return content ? std::optional(std::move(content->object)) : std::nullopt;
}

std::vector<WalArchive::SetAside> WalArchive::all_set_aside() const {
  std::vector<SetAside> found;
  for (const std::string& name : amended_->files()) {
    const pg::WalFileName file = pg::parse_wal_file_name(name, segment_size());
    const WalAmendments beside = amendments(file);
    std::set<std::optional<Bytes16>> digests;  // of a partial segment
    if (file.kind != pg::WalFileKind::kPartial)
      digests.insert(std::nullopt);
    else
      for (const WalMark& mark : beside.marks)
        if (std::optional<Bytes16> digest = parse_hex_array<16>(mark.content))
          digests.insert(digest);
    for (const std::optional<Bytes16>& digest : digests)
      for (Content& content : contents(file, digest ? &*digest : nullptr, beside))
        if (content.aside)
          found.push_back({.file = file, .partial = digest, .content = std::move(content)});
  }
  return found;
}

// --- putting

bool WalArchive::put_segment(const pg::WalFileName& file, const WalSegmentInfo& info,
                             const Pieces& content, const std::function<void()>& before_commit,
                             uint64_t number) const {
  std::optional<Bytes16> partial;
  if (file.kind == pg::WalFileKind::kPartial) partial = partial_digest(info.sha256);
  const std::string name = object_name(file, partial ? &*partial : nullptr, number);

  ObjectWriter writer(repository_->store(), repository_->keyring(), kWalSegmentKind, name,
                      repository_->random());
  writer.section(kMetadataSection, encode_metadata(name, to_json(info)));
  uint64_t bytes = 0;
  content([&](const CompressedPiece& piece) {
    writer.compressed_section(kContentSection, piece);
    bytes += piece.raw_bytes;
  });
  HF_CHECK(bytes == info.bytes);
  if (before_commit) before_commit();
  // The store says by an error that a name is taken, or that it does not know whether the object
  // was made. Both are answered by what stands there.
  const std::optional<Error> error =
      error_of({ErrorCode::kAlreadyExists, ErrorCode::kStoreUnavailable}, [&] { writer.commit(); });
  if (!error) return true;
  const bool is_taken = error->code() == ErrorCode::kAlreadyExists;
  if (!is_taken) {
    std::optional<WalSegmentInfo> there = segment_info_of(name);
    if (!there || there->sha256 != info.sha256 || there->bytes != info.bytes) throw Error(*error);
  }
  repository_->store().make_durable(name);
  return !is_taken;
}

bool WalArchive::put_file(const pg::WalFileName& file, const WalFileInfo& info, ByteView content,
                          uint64_t number) const {
  HF_CHECK(info.bytes == content.size());
  const std::string name = object_name(file, nullptr, number);
  ObjectWriter writer(repository_->store(), repository_->keyring(), kWalFileKind, name,
                      repository_->random());
  writer.section(kMetadataSection, encode_metadata(name, file_info_json(info)));
  writer.section(kContentSection, content);
  // As in put_segment.
  const std::optional<Error> error =
      error_of({ErrorCode::kAlreadyExists, ErrorCode::kStoreUnavailable}, [&] { writer.commit(); });
  const bool is_taken = error && error->code() == ErrorCode::kAlreadyExists;
  if (error) {
    std::optional<WalFileInfo> there;
    if (!is_taken) there = file_info_of(name);
    if (!is_taken && (!there || there->sha256 != info.sha256 || there->bytes != info.bytes))
      throw Error(*error);
    repository_->store().make_durable(name);
  }
  if (!is_taken && file.kind == pg::WalFileKind::kHistory) put_missing_history(name);
  return !is_taken;
}

std::optional<std::string> WalArchive::put_missing_history(const std::string& object) const {
  const TwoPlaces places{.first = object, .copy = copy_of_history(object).value()};
  return put_missing(repository_->store(), places, [&](const Bytes& bytes) {
    read_small(read_metadata(ObjectReader::open_bytes(bytes, repository_->keyring(), kWalFileKind,
                                                      object, object),
                             object),
               object);
  });
}

std::vector<std::string> WalArchive::put_missing_histories() const {
  std::vector<std::string> all;
  for (const pg::TimelineId timeline : stored_histories())
    for (const Content& content :
         contents({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}}))
      if (std::optional<std::string> put = put_missing_history(content.object))
        all.push_back(*std::move(put));
  return all;
}

// --- reading

std::optional<WalSegmentInfo> WalArchive::segment_info(const pg::WalFileName& file,
                                                       const Bytes16* partial) const {
  const std::optional<std::string> object = served_object(file, partial);
  return object ? segment_info_of(*object) : std::nullopt;
}

std::optional<WalSegmentInfo> WalArchive::segment_info_of(const std::string& name) const {
  std::optional<Opened> object = open_object(*repository_, kWalSegmentKind, name, name);
  if (!object) return std::nullopt;
  return wal_segment_info_from_json(object->metadata);
}

std::optional<WalFileInfo> WalArchive::file_info(const pg::WalFileName& file) const {
  const std::optional<std::string> object = served_object(file);
  return object ? file_info_of(*object) : std::nullopt;
}

std::optional<WalFileInfo> WalArchive::file_info_of(const std::string& name) const {
  return read_at_its_places(
      *repository_, name, [&](const std::string& place) -> std::optional<WalFileInfo> {
        const std::optional<Opened> object = open_object(*repository_, kWalFileKind, name, place);
        if (!object) return std::nullopt;
        return wal_file_info_from_json(object->metadata);
      });
}

std::optional<WalSegmentInfo> WalArchive::read_segment(const pg::WalFileName& file,
                                                       const std::function<void(ByteView)>& take,
                                                       const Bytes16* partial) const {
  const std::optional<std::string> object = served_object(file, partial);
  return object ? read_segment_of(*object, take) : std::nullopt;
}

std::optional<WalSegmentInfo> WalArchive::read_segment_of(
    const std::string& name, const std::function<void(ByteView)>& take) const {
  std::optional<Opened> object = open_object(*repository_, kWalSegmentKind, name, name);
  if (!object) return std::nullopt;
  WalSegmentInfo info = wal_segment_info_from_json(object->metadata);

  // A piece is hashed by a thread of its own while it is taken and the next one is expanded.
  PieceHasher hasher;
  codec::Decompressor decompressor;
  uint64_t bytes = 0;
  while (std::optional<ObjectReader::Section> section = object->reader.next()) {
    if (section->type != kContentSection) {
      object->reader.skip_unknown(*section);
      continue;
    }
    const CompressedSection content =
        parse_compressed_section(section->plain, kMaxSegmentPieceBytes, name);
    const std::span<std::byte> piece = hasher.room(content.raw_bytes);
    {
      Context expanding("expanding a section of object \"{}\"", name);
      decompressor.decompress(content.algorithm, content.frame, piece);
    }
    bytes += piece.size();
    if (bytes > info.bytes)
      throw_damaged_content(name, fmt::format("It holds more than its {} bytes.", info.bytes));
    hasher.hash(piece);
    take(piece);
  }
  if (bytes != info.bytes)
    throw_damaged_content(name, fmt::format("It holds {} of its {} bytes.", bytes, info.bytes));
  if (hasher.finish() != info.sha256)
    throw_damaged_content(name, "The SHA-256 of its content is not the one in its metadata.");
  return info;
}

std::optional<Bytes> WalArchive::read_file(const pg::WalFileName& file) const {
  const std::optional<std::string> object = served_object(file);
  return object ? read_file_of(*object) : std::nullopt;
}

std::optional<Bytes> WalArchive::read_file_of(const std::string& name) const {
  return read_at_its_places(
      *repository_, name, [&](const std::string& place) -> std::optional<Bytes> {
        std::optional<Opened> object = open_object(*repository_, kWalFileKind, name, place);
        if (!object) return std::nullopt;
        return read_small(*std::move(object), place);
      });
}

// --- listing

std::vector<pg::WalFileName> WalArchive::amended_files() const {
  std::vector<pg::WalFileName> files;
  for (const std::string& name : amended_->files())
    files.push_back(pg::parse_wal_file_name(name, segment_size()));
  return files;
}

std::optional<store::ObjectInfo> WalArchive::info_of(const std::string& object) const {
  std::optional<store::ObjectInfo> info = repository_->store().info(object);
  if (const std::optional<std::string> copy = copy_of_history(object); !info && copy)
    info = repository_->store().info(*copy);
  return info;
}

bool WalArchive::is_there(const pg::WalFileName& file) const {
  const std::optional<std::string> object = served_object(file);
  return object && info_of(*object);
}

// What is set aside proves nothing of a timeline.
std::vector<pg::TimelineId> WalArchive::timelines() const {
  std::set<pg::TimelineId> found;
  const std::string folder = wal_folder(lineage_.name);
  store::for_each_entry(repository_->store(), {.prefix = folder, .folders = true},
                        [&](const store::ListEntry& entry) {
                          // "00000001.history" and "00000001/": what is neither is not ours to
                          // judge.
                          std::string text = entry.name.substr(folder.size());
                          if (entry.is_folder())
                            text = text.substr(0, text.size() - 1) + ".history";
                          pg::WalFileName name = pg::parse_wal_file_name(text, segment_size());
                          if (name.kind == pg::WalFileKind::kHistory)
                            found.insert(name.segment.timeline);
                          return true;
                        });
  for (const pg::TimelineId timeline : amended_->copied_histories()) found.insert(timeline);
  std::set<pg::TimelineId> doubtful;
  for (const pg::WalFileName& file : amended_files()) doubtful.insert(file.segment.timeline);
  for (const pg::TimelineId timeline : doubtful) {
    bool has_any = is_there({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}});
    if (!has_any)
      for_each_entry(timeline, 0, [&](const Entry&) {
        has_any = true;
        return false;
      });
    if (has_any)
      found.insert(timeline);
    else
      found.erase(timeline);
  }
  return {found.begin(), found.end()};
}

std::set<pg::TimelineId> WalArchive::stored_histories() const {
  std::set<pg::TimelineId> found;
  const std::string folder = wal_folder(lineage_.name);
  store::for_each_entry(repository_->store(),
                        {.prefix = folder, .folders = true, .empty_folders = true},
                        [&](const store::ListEntry& entry) {
                          pg::WalFileName name = pg::parse_wal_file_name(
                              std::string_view(entry.name).substr(folder.size()), segment_size());
                          if (name.kind == pg::WalFileKind::kHistory)
                            found.insert(name.segment.timeline);
                          return true;
                        });
  for (const pg::TimelineId timeline : amended_->copied_histories()) found.insert(timeline);
  for (const pg::WalFileName& file : amended_files())
    if (file.kind == pg::WalFileKind::kHistory) found.insert(file.segment.timeline);
  return found;
}

std::vector<pg::TimelineId> WalArchive::history_timelines() const {
  std::set<pg::TimelineId> found = stored_histories();
  for (const pg::WalFileName& file : amended_files())
    if (file.kind == pg::WalFileKind::kHistory && !is_there(file))
      found.erase(file.segment.timeline);
  return {found.begin(), found.end()};
}

std::optional<std::string> WalArchive::first_file(pg::TimelineId from) const {
  for (const pg::TimelineId timeline : timelines()) {
    if (timeline < from) continue;
    std::optional<std::string> name;
    for_each_entry(timeline, 0, [&](const Entry& entry) {
      name = pg::to_string(entry.file, segment_size());
      if (entry.partial) *name += "." + to_hex(entry.partial->view());
      return false;
    });
    return name ? name : pg::history_file_name(timeline);
  }
  return std::nullopt;
}

// What stands in wal/ in the order of names, less what is not served, and between it what stands in
// amended/ alone.
void WalArchive::for_each_entry(pg::TimelineId timeline, uint64_t from_segment_number,
                                const std::function<bool(const Entry&)>& visit) const {
  std::map<std::string, pg::WalFileName> amended;  // by name
  for (const pg::WalFileName& file : amended_files())
    if (file.segment.timeline == timeline && file.kind != pg::WalFileKind::kHistory)
      amended.emplace(pg::to_string(file, segment_size()), file);
  if (amended.empty()) return for_each_stored(timeline, from_segment_number, visit);

  std::map<std::string, pg::WalFileName> alone = amended;
  bool go_on = true;
  // Those that come before `name`, or all.
  const auto visit_alone = [&](const std::string* name) {
    while (go_on && !alone.empty() && (name == nullptr || alone.begin()->first < *name)) {
      const pg::WalFileName file = alone.extract(alone.begin()).mapped();
      if (file.kind == pg::WalFileKind::kPartial ||
          file.segment.segment_number < from_segment_number)
        continue;
      const std::optional<Content> content = served(file, nullptr, amendments(file));
      if (content && content->number > 0)
        go_on = visit({.file = file,
                       .partial = std::nullopt,
                       .stored_bytes = content->stored_bytes,
                       .number = content->number});
    }
    return go_on;
  };
  for_each_stored(timeline, from_segment_number, [&](Entry entry) {
    const std::string name = pg::to_string(entry.file, segment_size());
    if (!visit_alone(&name)) return false;
    if (const auto beside = amended.find(name); beside != amended.end()) {
      alone.erase(name);
      const std::optional<Content> content =
          served(entry.file, entry.partial ? &*entry.partial : nullptr, amendments(entry.file));
      if (!content) return true;
      entry.number = content->number;
      if (entry.number > 0) entry.stored_bytes = content->stored_bytes;
    }
    go_on = visit(entry);
    return go_on;
  });
  visit_alone(nullptr);
}

// The objects in wal/.
void WalArchive::for_each_stored(pg::TimelineId timeline, uint64_t from_segment_number,
                                 const std::function<bool(const Entry&)>& visit) const {
  const std::string root = wal_timeline_folder(lineage_.name, timeline);
  // One folder to 4 GiB of WAL. Its entries in the order of names, from the wanted segment on.
  auto visit_folder = [&](const std::string& folder, std::string after) {
    bool go_on = true;
    store::for_each_entry(
        repository_->store(), {.prefix = folder, .after = std::move(after), .folders = true},
        [&](const store::ListEntry& listed) {
          std::string_view name = std::string_view(listed.name).substr(folder.size());
          Entry entry{.file = {}, .partial = digest_of_partial(name), .stored_bytes = listed.bytes};
          if (entry.partial) name = name.substr(0, name.rfind('.'));
          entry.file = pg::parse_wal_file_name(name, segment_size());
          bool is_known = entry.file.kind == pg::WalFileKind::kSegment ||
                          entry.file.kind == pg::WalFileKind::kBackupHistory ||
                          (entry.file.kind == pg::WalFileKind::kPartial && entry.partial);
          if (!is_known || entry.file.segment.timeline != timeline ||
              entry.file.segment.segment_number < from_segment_number)
            return true;
          go_on = visit(entry);
          return go_on;
        });
    return go_on;
  };

  std::string after;
  if (from_segment_number > 0) {
    // Begin with the segment itself: nothing that sorts behind its predecessor and before it
    // counts.
    const uint64_t in_folder = segment_size().segments_per_high_part();
    auto name_of = [&](uint64_t segment_number) {
      return object_name({.kind = pg::WalFileKind::kSegment,
                          .segment = {.timeline = timeline, .segment_number = segment_number}});
    };
    const std::string first = name_of(from_segment_number);
    const std::string folder = first.substr(0, first.rfind('/') + 1);
    if (!visit_folder(folder, from_segment_number % in_folder == 0
                                  ? std::string()
                                  : name_of(from_segment_number - 1)))
      return;
    after = folder;
  }
  store::for_each_entry(repository_->store(),
                        {.prefix = root, .after = after, .folders = true, .empty_folders = true},
                        [&](const store::ListEntry& folder) {
                          return !folder.is_folder() || visit_folder(folder.name, {});
                        });
}

void WalArchive::for_each_segment(
    pg::TimelineId timeline, uint64_t from_segment_number,
    const std::function<bool(uint64_t segment_number, uint64_t stored_bytes)>& visit) const {
  for_each_entry(timeline, from_segment_number, [&](const Entry& entry) {
    return entry.file.kind != pg::WalFileKind::kSegment ||
           visit(entry.file.segment.segment_number, entry.stored_bytes);
  });
}

std::optional<uint64_t> WalArchive::first_segment(pg::TimelineId timeline) const {
  std::optional<uint64_t> first;
  for_each_segment(timeline, 0, [&](uint64_t segment_number, uint64_t) {
    first = segment_number;
    return false;
  });
  return first;
}

std::optional<uint64_t> WalArchive::last_segment(pg::TimelineId timeline) const {
  std::vector<std::string> folders;  // one to 4 GiB of WAL
  const std::string root = wal_timeline_folder(lineage_.name, timeline);
  store::for_each_entry(repository_->store(),
                        {.prefix = root, .folders = true, .empty_folders = true},
                        [&](const store::ListEntry& folder) {
                          if (folder.is_folder()) folders.push_back(folder.name);
                          return true;
                        });
  // From the end: a folder may hold other files alone, or nothing.
  for (size_t i = folders.size(); i-- > 0;) {
    std::vector<pg::WalFileName> segments;
    store::for_each_entry(
        repository_->store(), {.prefix = folders[i], .folders = true},
        [&](const store::ListEntry& entry) {
          const pg::WalFileName file = pg::parse_wal_file_name(
              std::string_view(entry.name).substr(folders[i].size()), segment_size());
          if (file.kind == pg::WalFileKind::kSegment && file.segment.timeline == timeline)
            segments.push_back(file);
          return true;
        });
    // One that is set aside is not there.
    for (auto file = segments.rbegin(); file != segments.rend(); ++file)
      if (std::ranges::any_of(contents(*file, nullptr),
                              [](const Content& content) { return !content.aside; }))
        return file->segment.segment_number;
  }
  return std::nullopt;
}

bool WalArchive::any_segment_after(pg::TimelineId timeline, uint64_t segment_number) const {
  bool found = false;
  for_each_segment(timeline, segment_number + 1, [&](uint64_t, uint64_t) {
    found = true;
    return false;
  });
  return found;
}

std::vector<Bytes16> WalArchive::partials(pg::SegmentName segment) const {
  std::vector<Bytes16> digests;
  for_each_entry(segment.timeline, segment.segment_number, [&](const Entry& entry) {
    if (entry.file.segment.segment_number != segment.segment_number) return false;
    if (entry.partial) digests.push_back(*entry.partial);
    return true;
  });
  return digests;
}

void WalArchive::make_durable(const pg::WalFileName& file, const Bytes16* partial) const {
  const std::optional<std::string> object = served_object(file, partial);
  if (!object) return;
  const std::optional<std::string> copy = copy_of_history(*object);
  if (!copy) return repository_->store().make_durable(*object);
  for (const std::string& place : {*object, *copy})
    if (repository_->store().info(place)) repository_->store().make_durable(place);
}

}  // namespace holdfast::repo
