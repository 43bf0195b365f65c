// verified_objects.h: which objects were read whole and found good, so that they need not be read
// again.
//
// Every run of verify that has read something puts a record of it. A record holds for an object as
// long as it has the size that it had then, and came to stand there before that run began, by the
// store's clock and by more than a tick of it, so that a copy of the repository was not read: what
// changes while it is read, or right behind that, could else have the time of before. It says of
// each when that was, also where a later record has taken it over: what was read longest ago is
// read again. Normative: docs/design/repository-format.md, "Records of verification".
//
// Memory: 24 bytes for each archived segment, 32 for each pack; names of what else there is.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "repo/repository.h"

namespace holdfast::repo {

// When the run began that read an object, in seconds since 1970; 0: nobody knows.
struct LastRead {
  uint32_t seconds = 0;
  static LastRead of(Time time);
  bool is_known() const { return seconds != 0; }
  Time time() const { return Time(std::chrono::seconds(seconds)); }
  auto operator<=>(const LastRead&) const = default;
};

// What one run has read and found good; and what a record holds.
class VerifiedObjects {
 public:
  struct Object {
    uint64_t bytes = 0;
    LastRead read;
    bool operator==(const Object&) const = default;
  };
  // `name`: whole, of an object of this lineage.
  void add(const LineageName& lineage, const std::string& name, uint64_t bytes, LastRead read);
  // nullopt: it is not among them.
  std::optional<Object> find(const LineageName& lineage, const std::string& name) const;
  // After the last add(), before anything else. Of two of one name the one that was read last
  // counts.
  void sort();
  size_t size() const { return packs_.size() + segments_.size() + others_.size(); }
  bool operator==(const VerifiedObjects& other) const {
    return packs_ == other.packs_ && segments_ == other.segments_ && others_ == other.others_;
  }

 private:
  friend struct VerifiedSections;
  struct Pack {
    Bytes16 id;
    uint64_t bytes = 0;
    LastRead read;
    bool operator==(const Pack&) const = default;
  };
  struct Segment {
    uint32_t timeline = 0;
    uint32_t bytes = 0;
    uint64_t place = 0;  // the 16 digits behind the timeline, as a number
    LastRead read;
    bool operator==(const Segment&) const = default;
  };
  std::vector<Pack> packs_;
  std::vector<Segment> segments_;
  std::map<std::string, Object, std::less<>> others_;  // below the lineage's folder
  size_t dated_ = 0;  // while it is decoded: of so many it was said when they were read
};

// The sections of a record behind its first, as plain bytes by their type; and back. Decoding
// throws kCorrupt for what is out of order or out of bounds. `what` is for errors.
std::vector<std::pair<uint16_t, Bytes>> encode_verified(const VerifiedObjects& objects);
void decode_verified(uint16_t type, ByteView raw, std::string_view what, VerifiedObjects& into);

// All records of a lineage.
class VerifiedRecords {
 public:
  VerifiedRecords() = default;
  // A record that cannot be read is told and counts for nothing.
  VerifiedRecords(
      const Repository& repository, const LineageName& lineage,
      const std::function<void(const std::string& name, const Error& error)>& unreadable);

  // When the object was read whole and found good, if it is unchanged since; nullopt: it was not,
  // or is not. `changed`: the later of ObjectInfo's two times.
  std::optional<LastRead> cover(const std::string& name, uint64_t bytes, Time changed) const;
  // Those that no other has taken over, oldest first.
  const std::vector<std::string>& ids() const { return ids_; }
  // What a new one can take over: every record that is there, whether it counts or not, but those
  // of a newer version.
  const std::vector<std::string>& replaceable() const { return replaceable_; }
  bool has_damaged() const { return has_damaged_; }

 private:
  struct Record {
    Time began;
    VerifiedObjects objects;
  };
  LineageName lineage_;
  std::vector<std::string> ids_, replaceable_;
  std::vector<Record> records_;
  bool has_damaged_ = false;
};

// Records that are there and count for nothing, because another that can be read has taken them
// over. Reads the first section of those that count.
std::set<std::string> replaced_records(const Repository& repository, const LineageName& lineage);

// What a run of verify looked at.
struct VerifyRun {
  Time began;               // by the store's clock
  bool everything = false;  // of the lineage
  LastRead oldest = {};     // of what it did not read again the one that was read longest ago
};
// The newest run that looked at everything; nullopt: none that says so.
std::optional<VerifyRun> last_whole_run(const Repository& repository, const LineageName& lineage);

// Puts a record of a run; what the records `replaced`
// said is in it, or is not to count any more. A record takes over all that are replaceable() or
// none: else one that an older record has taken over would count again when that one goes. Returns
// its id.
std::string put_verified(const Repository& repository, const LineageName& lineage,
                         const VerifyRun& run, const VerifiedObjects& objects,
                         const std::vector<std::string>& replaced);

}  // namespace holdfast::repo
