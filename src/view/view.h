// view.h: results as text for people and as JSON for programs: one schema, for cli and all that
// comes later.
//
// Text ends with a line feed and with one line that a tired person can act on. JSON documents have
// a member "schema" ("holdfast.backup.v1"); LSNs are text, bytes integers, times RFC 3339 UTC,
// durations seconds.
#pragma once

#include <string>

#include "backup/backup.h"
#include "base/error.h"
#include "base/json.h"
#include "restore/restore.h"
#include "setup/info.h"
#include "setup/init.h"

namespace holdfast::view {

// "ERROR:  message\nDETAIL:  …\nHINT:  …\nCONTEXT:  …\n", as PostgreSQL's programs print it.
std::string text(const Error& error);
Json json(const Error& error);

// `configure`: the command that makes the settings.
std::string text(const setup::InitResult& result, const std::string& repository_url,
                 const std::string& configure);
Json json(const setup::InitResult& result);

std::string text(const setup::RepositoryInfo& info);
Json json(const setup::RepositoryInfo& info);

std::string text(const backup::BackupResult& result);
Json json(const backup::BackupResult& result);

// "backup list"
struct Unreadable {
  std::vector<repo::UnreadableBackup> backups = {};
  struct Lineage {
    std::string name;
    std::string problem;  // a line
  };
  std::vector<Lineage> lineages = {};
};
std::string text(const std::vector<repo::Backup>& backups, const Unreadable& unreadable);
Json json(const std::vector<repo::Backup>& backups, const Unreadable& unreadable);
// "backup show"
std::string text(const repo::Backup& backup);
Json json(const repo::Backup& backup);

std::string text(const restore::RestoreResult& result);
Json json(const restore::RestoreResult& result);

std::string text(const restore::FinishResult& result);
Json json(const restore::FinishResult& result);

}  // namespace holdfast::view
