// repository.h: a repository that was opened: its identity, its key, its lineages.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "codec/compression.h"
#include "repo/format.h"
#include "repo/keys.h"
#include "repo/layout.h"
#include "store/store.h"

namespace holdfast::repo {

struct TwoPlaces;

// lineage.json
struct Lineage {
  LineageName name;
  uint64_t system_identifier = 0;
  uint32_t catalog_version = 0;
  uint32_t wal_segment_bytes = 0;
  uint32_t block_bytes = 0;
  uint32_t blocks_per_segment = 0;
  Time created;
};

class Repository {
 public:
  // Reads repo.json, or its copy where that is lost or rotten, and, when the repository is sealed,
  // unwraps the data key. `target` and `random`
  // must outlive the result. Throws kNotFound "there is no repository at …" (an empty or foreign
  // directory), kStoreUnavailable, kWrongKey (sealed and no key, or another), kConfiguration (a key
  // was given, the repository is not sealed), kUnsupported (a required feature is unknown),
  // kWrongCluster when `expected_id` is given and differs.
  static Repository open(store::Store& target, const KeySource& key,
                         const std::optional<Bytes16>& expected_id = std::nullopt,
                         RandomSource& random = system_random());
  // Makes one: key objects first, repo.json by create. Sealed when `key` is not empty. Throws
  // kAlreadyExists when repo.json is there, kConflict when anything else is, kUnsupported when the
  // store cannot put-if-absent (it is tried).
  static Repository create(store::Store& target, const KeySource& key, const Clock& clock,
                           RandomSource& random = system_random());

  store::Store& store() const { return *store_; }
  RandomSource& random() const { return *random_; }
  const Keyring& keyring() const { return keyring_; }
  const Bytes16& id() const { return keyring_.repository_id; }
  bool sealed() const { return keyring_.data_key.has_value(); }
  Time created() const { return created_; }

  // What they are called; their earlier names (cluster_names.h) are left out.
  std::vector<std::string> clusters() const;
  // The folders below clusters/, and those below one of them, empty ones too.
  std::vector<std::string> cluster_folders() const;
  std::vector<std::string> folders_of_cluster(const std::string& folder) const;
  // The lineages of a cluster by their folders, with their document or without it.
  std::vector<LineageName> lineage_folders(const std::string& cluster) const;
  // Sorted; the newest last. One whose document and its copy cannot be read is an error, or told to
  // `unreadable` and left out: by who shows what there is. Which lineage is the newest cannot be
  // said then. Where both are missing its commits tell the same, with a warning. Any name of the
  // cluster will do.
  using TellUnreadable = std::function<void(const LineageName& lineage, const Error& error)>;
  std::vector<Lineage> lineages(const std::string& cluster,
                                const TellUnreadable& unreadable = {}) const;
  // The same, of a cluster that must be there.
  std::vector<Lineage> require_lineages(const std::string& cluster,
                                        const TellUnreadable& unreadable = {}) const;
  // kNotFound, with the clusters that there are.
  [[noreturn]] void throw_no_cluster(const std::string& cluster) const;
  std::optional<Lineage> newest_lineage(const std::string& cluster) const;
  // The lineage of a system identifier; nullopt when this repository has none for that cluster. It
  // needs no other lineage, and no other folder of the cluster.
  std::optional<Lineage> find_lineage(const std::string& cluster, uint64_t system_identifier) const;
  // Puts lineage.json and its copy; lineage.name.count is chosen as the next for its major. Throws
  // kAlreadyExists when the system identifier has one; kConflict when a new cluster's name is taken
  // by somebody else at this moment.
  // Without `beside_others` it is to be the first of its cluster.
  Lineage create_lineage(Lineage lineage, bool beside_others = true) const;

  // Everything hangs on repo.json, lineage.json and the names that lead to the cluster: puts again
  // what is missing of their two places, of the lineage also where both are and a commit stands.
  // Never throws for want of room or right.
  void complete_copies(const LineageName& lineage) const;

  // A document by its name; nullopt when absent. `place`: where it stands, when it is a copy.
  std::optional<Json> read_document(std::string_view kind, const std::string& name,
                                    const std::string& place = {}) const;
  // Warns, once for each object, that the copy is read where the first is damaged or missing.
  void tell_of_copy(const TwoPlaces& places, bool is_damaged) const;
  // False when the name is taken.
  bool create_document(std::string_view kind, const std::string& name, const Json& body) const;

 private:
  Repository() = default;
  // False when its name is taken.
  bool put_lineage(const Lineage& lineage) const;
  // Of one whose document and copy are missing what a commit says of it, with a warning; nullopt:
  // it has no commit.
  std::optional<Lineage> lineage_of_commits(const LineageName& name) const;
  void tell_once(const std::string& object, const std::function<void()>& tell) const;
  struct Told;
  std::shared_ptr<Told> told_;
  store::Store* store_ = nullptr;
  RandomSource* random_ = nullptr;
  Keyring keyring_;
  Time created_;
};

}  // namespace holdfast::repo
