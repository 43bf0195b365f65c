#include "pg/backup_exclusions.h"

#include <gtest/gtest.h>

namespace holdfast::pg {
namespace {

using enum BackupTreatment;
using enum PathType;

TEST(BackupTreatment, FollowsTheServersListAndWhatOthersLearned) {
  const struct {
    const char* path;
    PathType type;
    BackupTreatment treatment;
  } cases[] = {
      // Data.
      {"base", kDirectory, kKeep},
      {"base/5/16384", kFile, kKeep},
      {"base/5/16384_init", kFile, kKeep},
      {"base/5/pg_filenode.map", kFile, kKeep},
      {"global/pg_control", kFile, kKeep},
      {"pg_xact/0000", kFile, kKeep},
      {"pg_twophase/000001E1", kFile, kKeep},
      {"pg_logical/mappings", kDirectory, kKeep},
      {"pg_tblspc/16400", kSymbolicLink, kKeep},
      {"pg_tblspc/16400", kDirectory, kKeep},
      {"pg_tblspc/16400/PG_15_202209061/5/16384", kFile, kKeep},
      {"PG_VERSION", kFile, kKeep},
      {"postgresql.auto.conf", kFile, kKeep},
      {"current_logfiles", kFile, kKeep},
      {"log/postgresql.log", kFile, kKeep},
      // Emptied.
      {"pg_wal", kDirectory, kDirectoryOnly},
      {"pg_wal", kSymbolicLink, kDirectoryOnly},
      {"pg_wal/000000010000000000000001", kFile, kSkip},
      {"pg_wal/archive_status", kDirectory, kSkip},
      {"pg_replslot", kDirectory, kDirectoryOnly},
      {"pg_replslot/standby/state", kFile, kSkip},
      {"pg_stat_tmp", kSymbolicLink, kDirectoryOnly},
      {"pg_subtrans/0000", kFile, kSkip},
      {"pg_notify/0000", kFile, kSkip},
      {"pg_serial", kDirectory, kDirectoryOnly},
      {"pg_snapshots", kDirectory, kDirectoryOnly},
      {"pg_dynshmem/mmap.1", kFile, kSkip},
      {"base/5/pg_wal", kFile, kKeep},
      // Left out by name.
      {"postmaster.pid", kFile, kSkip},
      {"postmaster.opts", kFile, kSkip},
      {"backup_label", kFile, kSkip},
      {"backup_label.old", kFile, kSkip},
      {"tablespace_map", kFile, kSkip},
      {"tablespace_map.old", kFile, kSkip},
      {"backup_manifest", kFile, kSkip},
      {"postgresql.auto.conf.tmp", kFile, kSkip},
      {"current_logfiles.tmp", kFile, kSkip},
      {"recovery.signal", kFile, kSkip},
      {"standby.signal", kFile, kSkip},
      {"recovery.conf", kFile, kSkip},
      {"recovery.done", kFile, kSkip},
      {".s.PGSQL.5432.lock", kFile, kSkip},
      {"sockets/.s.PGSQL.5432.lock", kFile, kSkip},
      {"lost+found", kDirectory, kSkip},
      {"lost+found/x", kFile, kSkip},
      {"base/lost+found", kDirectory, kSkip},
      {"pg_xact/lost+found/x", kFile, kSkip},
      {"pg_tblspc/16400/lost+found", kDirectory, kSkip},
      {".DS_Store", kFile, kSkip},
      {"base/5/pg_internal.init", kFile, kSkip},
      {"global/pg_internal.init.1234", kFile, kSkip},
      {"global/pg_filenode.map.tmp", kFile, kSkip},
      {"base/5/pg_filenode.map.tmp", kFile, kSkip},
      {"global/anything.tmp", kFile, kSkip},
      {"base/pgsql_tmp", kDirectory, kSkip},
      {"base/pgsql_tmp/pgsql_tmp1234.0", kFile, kSkip},
      {"base/pgsql_tmp/other", kFile, kSkip},
      {"pg_tblspc/16400/PG_15_202209061/pgsql_tmp", kDirectory, kSkip},
      // Temporary relations, where relations lie and nowhere else.
      {"base/5/t3_16390", kFile, kSkip},
      {"base/5/t3_16390_fsm.1", kFile, kSkip},
      {"pg_tblspc/16400/PG_15_202209061/5/t12_16390", kFile, kSkip},
      {"my_extension/t3_16390", kFile, kKeep},
      // What is neither file nor directory.
      {".s.PGSQL.5432", kSpecial, kSkipAndWarn},
      {"log", kSymbolicLink, kSkipAndWarn},
      {"postgresql.conf", kSymbolicLink, kSkipAndWarn},
      {"base", kSymbolicLink, kRefuse},
      {"base/5", kSymbolicLink, kRefuse},
      {"base/5/16384", kSymbolicLink, kRefuse},
      {"pg_xact", kSymbolicLink, kRefuse},
      {"pg_tblspc", kSymbolicLink, kRefuse},
      {"pg_tblspc/16400/PG_15_202209061", kSymbolicLink, kRefuse},
  };
  for (const auto& c : cases) EXPECT_EQ(backup_treatment(c.path, c.type), c.treatment) << c.path;
}

TEST(UnloggedRelations, LeavesOutAllForksButInit) {
  const std::vector<std::string> names = {"100",    "100_fsm",    "100_init",    "100.1", "101",
                                          "101_vm", "PG_VERSION", "t3_102_init", "102"};
  UnloggedRelations unlogged(names);
  for (const char* name : {"100", "100_fsm", "100_vm", "100.1", "100_fsm.2"})
    EXPECT_TRUE(unlogged.leaves_out(name)) << name;
  for (const char* name :
       {"100_init", "100_init.1", "101", "101_vm", "102", "PG_VERSION", "1000"}) {
    EXPECT_FALSE(unlogged.leaves_out(name)) << name;
  }
}

TEST(TopName, TellsWhatOnlyAServerUses) {
  const struct {
    TopName is;
    std::initializer_list<const char*> names;
  } cases[] = {{TopName::kTelling,
                {"PG_VERSION", "pg_wal", "pg_xact", "pg_tblspc", "pg_multixact",
                 "postgresql.auto.conf", "postmaster.opts"}},
               {TopName::kServers,
                {"base", "global", "log", "postgresql.conf", "pg_hba.conf", "standby.signal",
                 "lost+found", "backup_label.old", "postgresql.auto.conf.tmp", ".s.PGSQL.5432",
                 "core.1234", "holdfast_restore.in_progress", "holdfast_restore.json.ab12.tmp",
                 "holdfast_link.16384", "holdfast_salvage-20261122T082239Z"}},
               {TopName::kStranger,
                {"www", "mail", "main", "conf.d", "pg_dumps", "holdfast_repo", "base.old",
                 "images.tmp", "PG_15_202209061", "tmp"}}};
  for (const auto& c : cases)
    for (const char* name : c.names) EXPECT_EQ(top_name(name), c.is) << name;
  for (const char* name :
       {"000000010000000000000001", "000000010000000000000001.partial", "00000002.history",
        "000000010000000000000001.00000028.backup", "archive_status", "summaries", "xlogtemp.123",
        "RECOVERYXLOG", "holdfast_spool", "holdfast_stored_ahead"})
    EXPECT_TRUE(is_name_in_pg_wal(name)) << name;
  for (const char* name :
       {"others", "0000001", "old_wal", "lost", "20261130", "20261129-nightly.dump",
        "DEADBEEF-project", "000000010000000000000001-copy", "20261130.tar"})
    EXPECT_FALSE(is_name_in_pg_wal(name)) << name;
}

}  // namespace
}  // namespace holdfast::pg
