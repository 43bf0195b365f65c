// call.h: what every command is given, and the repository that most of them open.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/containment.h"
#include "base/json.h"
#include "base/reporter.h"
#include "base/time.h"
#include "cli/arguments.h"
#include "cli/progress.h"
#include "config/settings.h"
#include "repo/lineage_choice.h"
#include "repo/repository.h"
#include "restore/restore.h"
#include "setup/init.h"

namespace holdfast::cli {

struct Call {
  const Arguments& arguments;
  const config::Settings& settings;
  const Clock& clock;
  ProgressReporter& reporter;
  std::stop_token stop;
};

// The configured repository, with its store.
struct OpenRepository {
  explicit OpenRepository(const Call& call);

  // Of the chosen cluster, oldest first. Throws kNotFound when the repository has no such cluster,
  // naming those that it has; warns of one that cannot be read.
  std::vector<repo::Lineage> lineages() const;

  std::string cluster;
  std::unique_ptr<store::Store> store;
  repo::Repository repository;
  Reporter& reporter;
};

// Which lineage is meant, by --lineage, by `backup`, else by the cluster's data directory or
// server. `call` must outlive it.
repo::LineageChoice lineage_choice(const Call& call, std::string backup = {});

// The text of archive_command, and of restore_command and recovery_end_command, for one repository,
// which is pinned by its id: they neither fill nor follow another one that comes to lie in its
// place. archive_command without an id: for a repository that is still to be made, and as earlier
// versions wrote it.
std::string archive_command(const config::Settings& settings,
                            const std::optional<Bytes16>& repository_id);
std::string restore_command(const config::Settings& settings, const Bytes16& repository_id);
std::string recovery_end_command(const config::Settings& settings, const Bytes16& repository_id);
// The repository that it archives into, told from every other; and where another command of this
// program's archives to, as far as its own words say that: nullopt where they do not, or where it
// does more than that.
std::string archived_repository(const config::Settings& settings);
std::optional<setup::ArchivePlace> archive_place_of(const std::string& command);

// Who is asked, and what the user says, of a server that is not seen.
cluster::ServerWitness server_witness(const Call& call);

// What the restore_command of a started server needs beside its text: what of its settings the
// caller's environment gives and no option can.
std::vector<std::pair<std::string, std::string>> server_environment(const Call& call);

// Where Debian's clusters have their configuration, as its own tools find them.
std::string debian_clusters();

// How a copy's server is kept from production: what restore_command needs stays visible. Its own
// network is left out where the key comes from a command, which may ask for it there.
restore::SandboxOptions sandbox_options(const Call& call);

// The repository, keys and configuration of this call, as far as they are files.
std::vector<OwnFile> own_files(const Call& call);

// Takes the bar off and writes to stdout: a text, its commands whole, in colour where that is
// wanted; a document; a result as one of them, by --json.
void print(const Call& call, const std::string& text);
void print(const Call& call, const Json& document);
void print(const Call& call, const Json& document, const std::string& text);
// The text of what a command has done: empty with -q when all is well. What only shows something,
// and every JSON document, is shown with -q too.
std::string unless_quiet(const Call& call, bool is_well, std::string text);

}  // namespace holdfast::cli
