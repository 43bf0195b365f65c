// wal_archive.h: archived WAL as objects. Normative: docs/design/repository-format.md, "The WAL
// archive".
//
// What may be put, in which order, and what joins what is decided by the room `archive`; here is
// only the format. A file is its content that is served (wal_contents.h), and one of which none is
// served is not there: so for all functions but those that say otherwise.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pg/lsn.h"
#include "pg/wal_file_name.h"
#include "repo/repository.h"
#include "repo/segment_pass.h"
#include "repo/wal_contents.h"
#include "repo/wal_segment_info.h"

namespace holdfast::repo {

struct WalFileInfo {  // history and backup history files
  std::string file_name;
  uint64_t bytes = 0;
  Bytes32 sha256;
  uint64_t system_identifier = 0;
  std::string host;
  Time pushed;
};

class WalArchive {
 public:
  WalArchive(const Repository& repository, const Lineage& lineage);

  const Repository& repository() const { return *repository_; }
  const Lineage& lineage() const { return lineage_; }
  store::Store& store() const { return repository_->store(); }
  pg::WalSegmentSize segment_size() const;
  // Of the content of that number.
  std::string object_name(const pg::WalFileName& file, const Bytes16* partial = nullptr,
                          uint64_t number = 0) const;

  WalAmendments amendments(const pg::WalFileName& file) const;
  // What is amended is looked up once; this forgets it. For who puts something there, or works on
  // for long.
  void look_again() const;
  // Every content of a file that is there, served or not, by number. Opens none, but those that a
  // mark speaks of.
  struct Content {
    uint64_t number = 0;
    std::string object;
    uint64_t stored_bytes = 0;
    std::optional<WalMark> aside;  // it is set aside
  };
  std::vector<Content> contents(const pg::WalFileName& file,
                                const Bytes16* partial = nullptr) const;
  // The object that is served, if it is there; nullopt: all that are there are set aside.
  std::optional<std::string> served_object(const pg::WalFileName& file,
                                           const Bytes16* partial = nullptr) const;
  // Every content of the lineage that is set aside.
  struct SetAside {
    pg::WalFileName file;
    std::optional<Bytes16> partial;
    Content content;
  };
  std::vector<SetAside> all_set_aside() const;
  // The files of which further contents or marks are there, of some all that there is.
  std::vector<pg::WalFileName> amended_files() const;
  // The same as below, of one object, served or not.
  std::optional<WalSegmentInfo> segment_info_of(const std::string& object) const;
  std::optional<WalFileInfo> file_info_of(const std::string& object) const;
  std::optional<WalSegmentInfo> read_segment_of(const std::string& object,
                                                const std::function<void(ByteView)>& take) const;
  std::optional<Bytes> read_file_of(const std::string& object) const;

  // Calls `put` with each piece of a segment's content, in order.
  using Pieces = std::function<void(const std::function<void(const CompressedPiece&)>& put)>;
  // Puts the content of that number, of a history its copy too, durable when it returns. False: the
  // name is taken (and was made durable). `before_commit`, when given, is called when all bytes
  // were sent and the name is not yet to be seen; it may wait for its turn, or throw to give up.
  bool put_segment(const pg::WalFileName& file, const WalSegmentInfo& info, const Pieces& content,
                   const std::function<void()>& before_commit = {}, uint64_t number = 0) const;
  bool put_file(const pg::WalFileName& file, const WalFileInfo& info, ByteView content,
                uint64_t number = 0) const;

  // nullopt: absent. One small read.
  std::optional<WalSegmentInfo> segment_info(const pg::WalFileName& file,
                                             const Bytes16* partial = nullptr) const;
  std::optional<WalFileInfo> file_info(const pg::WalFileName& file) const;
  // The content, in pieces of at most 4 MiB to `take`, on this thread; another one hashes them. The
  // SHA-256 is checked at the end: throws kCorrupt after the pieces were handed over, so the caller
  // publishes nothing before this returns. nullopt: absent.
  std::optional<WalSegmentInfo> read_segment(const pg::WalFileName& file,
                                             const std::function<void(ByteView)>& take,
                                             const Bytes16* partial = nullptr) const;
  std::optional<Bytes> read_file(const pg::WalFileName& file) const;  // history, backup history

  // Whether a content of a file is served and stands.
  bool is_there(const pg::WalFileName& file) const;
  // Where one of the two places of a content of a history is missing, puts what stands at the other
  // there. The name that was put; nullopt: none is missing, or nothing can be read.
  std::optional<std::string> put_missing_history(const std::string& object) const;
  // The same of every history, served or not.
  std::vector<std::string> put_missing_histories() const;

  // What is there, in order, without opening objects.
  std::vector<pg::TimelineId> timelines() const;  // that have segments or a history file
  std::vector<pg::TimelineId> history_timelines() const;
  // The name of the first file of the first timeline from that one on that has any.
  std::optional<std::string> first_file(pg::TimelineId from) const;
  // Segments of a timeline in order from `from` on, page by page; `visit` returns false to end.
  void for_each_segment(
      pg::TimelineId timeline, uint64_t from_segment_number,
      const std::function<bool(uint64_t segment_number, uint64_t stored_bytes)>& visit) const;
  std::optional<uint64_t> first_segment(pg::TimelineId timeline) const;
  std::optional<uint64_t> last_segment(
      pg::TimelineId timeline) const;  // reads one folder from the end
  // Is any segment of that timeline later than `segment_number` archived? For the proof of absence.
  bool any_segment_after(pg::TimelineId timeline, uint64_t segment_number) const;
  // The digests that tell the partial segments kept under one segment's name apart.
  std::vector<Bytes16> partials(pg::SegmentName segment) const;
  // Every object of a timeline's folder in the order of names: segments, partial ones with their
  // digest, backup history files.
  struct Entry {
    pg::WalFileName file;
    std::optional<Bytes16> partial;
    uint64_t stored_bytes = 0;
    uint64_t number = 0;  // of the content
  };
  void for_each_entry(pg::TimelineId timeline, uint64_t from_segment_number,
                      const std::function<bool(const Entry&)>& visit) const;

  // The same of the objects in wal/, served or not.
  void for_each_stored(pg::TimelineId timeline, uint64_t from_segment_number,
                       const std::function<bool(const Entry&)>& visit) const;

  void make_durable(const pg::WalFileName& file, const Bytes16* partial = nullptr) const;

 private:
  std::vector<Content> contents(const pg::WalFileName& file, const Bytes16* partial,
                                const WalAmendments& amendments) const;
  std::optional<Content> served(const pg::WalFileName& file, const Bytes16* partial,
                                const WalAmendments& amendments) const;
  std::optional<store::ObjectInfo> info_of(const std::string& object) const;
  // Of which something stands, served or not.
  std::set<pg::TimelineId> stored_histories() const;

  const Repository* repository_;
  Lineage lineage_;
  std::shared_ptr<AmendedFolder> amended_;
};

}  // namespace holdfast::repo
