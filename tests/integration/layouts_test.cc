// Servers as people lay them out, each backed up, drilled, brought up as a copy, destroyed and
// restored in place, with and without what lay outside its data directory.
#include <filesystem>
#include <functional>
#include <grp.h>
#include <map>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "cluster/server_process.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

using cluster::Connection;

// A cluster below a directory of its own, with a place for what lies outside its data directory.
class Site {
 public:
  explicit Site(int major) : installation_(test_installation(major)) {
    forget_outer_settings();
    make_directory(site());
    cluster::initdb({.installation = installation_, .data_directory = data()});
    append_to(data("postgresql.conf"),
              fmt::format("listen_addresses = ''\nunix_socket_directories = '{}'\nport = 5432\n"
                          "fsync = off\nshared_buffers = 16MB\nwork_mem = 7MB\n"
                          "archive_mode = on\n",
                          directory_.path()));
    put(path("holdfast.toml"),
        fmt::format("[repo]\nurl = \"{}\"\n[cluster.main]\npgdata = \"{}\"\nconninfo = \"{}\"\n"
                    "bindir = \"{}\"\n",
                    path("repo"), data(), conninfo(), installation_.bin_directory));
  }
  ~Site() {
    process_.reset();
    end_processes_below(directory_.path());
  }

  std::string path(const std::string& name) const { return join_path(directory_.path(), name); }
  std::string data(const std::string& name = "") const {
    return name.empty() ? path("data") : path("data/" + name);
  }
  std::string site(const std::string& name = "") const {
    return name.empty() ? path("site") : path("site/" + name);
  }
  std::string conninfo() const {
    return fmt::format("host={} port=5432 user=postgres dbname=postgres", directory_.path());
  }
  static void put(const std::string& file, const std::string& text, mode_t mode = 0600) {
    if (!is_directory(parent_path(file))) make_directory(parent_path(file));
    write_file_durably(file, as_bytes(text), mode);
  }
  static void append_to(const std::string& file, const std::string& text) {
    put(file, read_text_file(file) + text);
  }
  static void link(const std::string& target, const std::string& name) {
    EXPECT_EQ(symlink(target.c_str(), name.c_str()), 0) << name;
  }
  // Moves a file of the data directory to the site and leaves nothing.
  void move_out(const std::string& name, const std::string& to) const {
    rename_path(data(name), site(to));
  }

  void start() {
    process_ = std::make_unique<cluster::ServerProcess>(
        cluster::ServerStart{.installation = installation_,
                             .data_directory = data(),
                             .settings = command_line,
                             .log_file = path("server.log")});
    const std::optional<Error> error = holdfast::error_of([&] {
      process_->wait_until_accepting(cluster::ServerProcess::Until::kReady, std::chrono::minutes(1),
                                     {});
    });
    if (error)
      throw Error({.code = ErrorCode::kServer, .message = read_text_file(path("server.log"))});
  }
  void stop() { process_->stop(cluster::ShutdownMode::kFast); }
  void crash() {
    process_->crash();
    process_.reset();
    wait_until_deserted(data());
  }
  Connection connect() const { return Connection::connect({.conninfo = conninfo()}, {}); }
  std::string value(const std::string& statement) const { return connect().query_value(statement); }
  Captured run(std::vector<std::string> words) const {
    words.insert(words.begin(), {"--config", path("holdfast.toml")});
    return holdfast(words);
  }
  Json must(std::vector<std::string> words) const {
    words.emplace_back("--json");
    const Captured ran = run(words);
    if (!ran.status.ok()) throw Error({.code = ErrorCode::kInternal, .message = describe(ran)});
    return Json::parse(ran.out, "output");
  }
  std::unique_ptr<RestoredServer> restore(std::vector<std::string> words) const {
    const std::string directory = words.at(1) == "--into" ? words.at(2) : data();
    return std::make_unique<RestoredServer>(directory, must(std::move(words)));
  }

  cluster::Settings command_line;

 private:
  cluster::Installation installation_;
  ServerDirectory directory_;
  std::unique_ptr<cluster::ServerProcess> process_;
};

using InForce = std::map<std::string, std::string>;

struct Layout {
  const char* name;
  std::function<void(Site&)> make;
  // Also what SHOW must say of a copy, and of what is restored in place.
  InForce in_force = {};
  std::function<void(const Site&)> restored = {};  // looked at in place, the server runs
};

void make_debian(Site& site) {
  for (const char* file : {"postgresql.conf", "pg_hba.conf", "pg_ident.conf"})
    site.move_out(file, file);
  make_directory(site.site("conf.d"));
  Site::append_to(site.site("postgresql.conf"),
                  fmt::format("data_directory = '{}'\nhba_file = '{}'\nident_file = '{}'\n"
                              "external_pid_file = '{}'\ninclude_dir = 'conf.d'\n",
                              site.data(), site.site("pg_hba.conf"), site.site("pg_ident.conf"),
                              site.path("main.pid")));
  Site::put(site.site("start.conf"), "auto\n");
  Site::put(site.site("environment"), "# none\n");
  site.command_line = {{"config_file", site.site("postgresql.conf")}};
}

void make_docker(Site& site) {
  // The data directory keeps initdb's own, which is not the server's.
  Site::put(site.site("my.conf"),
            read_text_file(site.data("postgresql.conf")) +
                fmt::format("hba_file = '{}'\ninclude 'tuning'\n", site.site("who")));
  Site::put(site.site("tuning"), "# nothing is set here\n");
  Site::put(site.site("who"), "local all all trust\n");
  Site::put(site.data("postgresql.conf"), "archive_mode = off\n");
  site.command_line = {{"config_file", site.site("my.conf")}};
}

void make_links(Site& site) {
  site.move_out("postgresql.conf", "prod15.conf");
  site.move_out("pg_hba.conf", "hba-prod");
  make_directory(site.site("more"));
  Site::put(site.site("more/memory.conf"), "maintenance_work_mem = 33MB\n");
  Site::append_to(site.site("prod15.conf"), "include_dir 'conf.d'\n");
  Site::put(site.site("key.pem"), "a key\n");
  Site::link(site.site("prod15.conf"), site.data("postgresql.conf"));
  Site::link("../site/hba-prod", site.data("pg_hba.conf"));
  Site::link(site.site("more"), site.data("conf.d"));
  Site::link(site.site("key.pem"), site.data("server.key"));
}

void make_other_names(Site& site) {
  Site::put(site.site("hba"), "local all @admins trust\nlocal all @\"sub/others\" reject\n");
  Site::put(site.site("admins"), "postgres\n");
  make_directory(site.site("sub"));
  Site::put(site.site("sub/others"), "nobody, @more\n");
  Site::put(site.site("sub/more"), "somebody\n");
  rename_path(site.data("pg_ident.conf"), site.data("ident-site"));
  remove_file(site.data("pg_hba.conf"));
  Site::append_to(site.data("postgresql.conf"),
                  fmt::format("hba_file = '{}'\nident_file = '{}'\n", site.site("hba"),
                              site.data("ident-site")));
}

void make_inner_hba(Site& site) {
  rename_path(site.data("pg_hba.conf"), site.data("hba-site.conf"));
  Site::append_to(site.data("postgresql.conf"),
                  fmt::format("hba_file = '{}'\n", site.data("hba-site.conf")));
}

void make_includes(Site& site) {
  make_directory(site.data("conf.d"));
  make_directory(site.data("empty.d"));
  make_directory(site.site("empty.d"));
  Site::put(site.data("conf.d/a.conf"), "maintenance_work_mem = 33MB\n");
  Site::put(site.site("shared"), "include 'deeper'\n");
  Site::put(site.site("deeper"), "temp_buffers = 9MB\n");
  Site::append_to(site.data("postgresql.conf"),
                  fmt::format("include_dir 'conf.d'\ninclude_dir 'empty.d'\ninclude_dir '{}'\n"
                              "include_if_exists '{}'\ninclude '{}'\n",
                              site.site("empty.d"), site.site("none"), site.site("shared")));
}

void make_group_access(Site& site) {
  for (const std::filesystem::directory_entry& entry :
       std::filesystem::recursive_directory_iterator(site.data())) {
    if (entry.is_symlink()) continue;
    EXPECT_EQ(chmod(entry.path().c_str(), entry.is_directory() ? 0750 : 0640), 0);
  }
  EXPECT_EQ(chmod(site.data().c_str(), 0750), 0);
}

// A group of this user that is not its first one: the sandbox of a copy has no number for it.
void make_socket_group(Site& site) {
  std::vector<gid_t> groups(64);
  const int count = getgroups(static_cast<int>(groups.size()), groups.data());
  for (int i = 0; i < count; ++i)
    if (groups[static_cast<size_t>(i)] != getegid())
      if (const group* found = getgrgid(groups[static_cast<size_t>(i)])) {
        Site::append_to(site.data("postgresql.conf"),
                        fmt::format("unix_socket_group = '{}'\n", found->gr_name));
        return;
      }
  ADD_FAILURE() << "the user of the tests has one group only";
}

void make_command_line(Site& site) {
  Site::put(site.data("postgresql.conf"), "archive_mode = off\n");
  site.command_line = {{"listen_addresses", ""},   {"unix_socket_directories", site.path("")},
                       {"shared_buffers", "16MB"}, {"fsync", "off"},
                       {"work_mem", "7MB"},        {"max_connections", "33"},
                       {"archive_mode", "on"}};
}

const std::vector<Layout>& layouts() {
  static const std::vector<Layout> all = {
      {.name = "Debian",
       .make = make_debian,
       .restored =
           [](const Site& site) {
             EXPECT_EQ(read_text_file(site.site("start.conf")), "auto\n");
             EXPECT_EQ(read_text_file(site.site("environment")), "# none\n");
           }},
      {.name = "Docker", .make = make_docker},
      {.name = "Links",
       .make = make_links,
       .in_force = {{"maintenance_work_mem", "33MB"}},
       .restored =
           [](const Site& site) {
             EXPECT_EQ(read_link(site.data("postgresql.conf")), site.site("prod15.conf"));
             EXPECT_EQ(read_link(site.data("pg_hba.conf")), "../site/hba-prod");
             EXPECT_EQ(read_link(site.data("conf.d")), site.site("more"));
             EXPECT_EQ(read_text_file(site.data("server.key")), "a key\n");
           }},
      {.name = "OtherNames", .make = make_other_names},
      {.name = "InnerHba", .make = make_inner_hba},
      {.name = "Includes",
       .make = make_includes,
       .in_force = {{"maintenance_work_mem", "33MB"}, {"temp_buffers", "9MB"}}},
      {.name = "GroupAccess",
       .make = make_group_access,
       .in_force = {{"data_directory_mode", "0750"}},
       .restored =
           [](const Site& site) {
             EXPECT_EQ(stat_if_exists(site.data("postgresql.conf"))->st_mode & 07777, 0640U);
           }},
      {.name = "SocketGroup", .make = make_socket_group},
      {.name = "CommandLine", .make = make_command_line, .in_force = {{"max_connections", "33"}}},
  };
  return all;
}

class LayoutsTest : public testing::TestWithParam<std::tuple<int, size_t>> {
 protected:
  const Layout& layout() const { return layouts().at(std::get<1>(GetParam())); }

  void expect_in_force(const RestoredServer& server) const {
    EXPECT_EQ(server.value("SELECT pg_catalog.count(*) FROM public.kept"), "100");
    EXPECT_EQ(server.value("SHOW work_mem"), "7MB");
    for (const auto& [name, value] : layout().in_force)
      EXPECT_EQ(server.value("SHOW " + name), value) << name;
    EXPECT_EQ(server.value("SELECT pg_catalog.count(*) FROM pg_catalog.pg_hba_file_rules WHERE "
                           "error IS NOT NULL"),
              "0");
  }
  void expect_all_below(const RestoredServer& server, const std::string& directory) const {
    for (const char* file : {"config_file", "hba_file", "ident_file", "data_directory"})
      EXPECT_EQ((server.value(fmt::format("SHOW {}", file)) + "/").find(directory + "/"), 0U)
          << file;
    EXPECT_EQ(server.value(
                  fmt::format("SELECT pg_catalog.count(*) FROM pg_catalog.pg_file_settings WHERE "
                              "sourcefile NOT LIKE '{}/%'",
                              directory)),
              "0");
  }
};

TEST_P(LayoutsTest, ComesBackAsItWas) {
  Site site(std::get<0>(GetParam()));
  layout().make(site);
  // The server is configured where its settings are: the command line wins over all files.
  site.start();
  site.must({"init"});
  const std::string archive_command = fmt::format("{} --config {} --cluster main wal push %p",
                                                  holdfast_program(), site.path("holdfast.toml"));
  if (layout().name == std::string("CommandLine")) {
    site.command_line.emplace_back("archive_command", archive_command);
    site.stop();
    site.start();
  } else {
    site.must({"init", "--configure-server"});
  }
  site.connect().query("CREATE TABLE public.kept AS SELECT g FROM generate_series(1, 100) g");
  site.must({"backup"});
  InForce roles;
  for (const char* name : {"config_file", "hba_file", "ident_file", "archive_mode",
                           "archive_command", "unix_socket_directories", "port"})
    roles[name] = site.value(fmt::format("SHOW {}", name));

  const Json drill = site.must({"drill"});
  EXPECT_TRUE(drill.at("passed").as_bool());
  {
    const std::unique_ptr<RestoredServer> copy =
        site.restore({"restore", "--into", site.path("copy"), "--start"});
    expect_in_force(*copy);
    expect_all_below(*copy, site.path("copy"));
    EXPECT_EQ(copy->value("SHOW archive_mode"), "off");
    EXPECT_EQ(copy->value("SHOW unix_socket_group"), "");
  }

  // First the data directory is gone, then what lay outside too.
  site.crash();
  for (const bool all_is_lost : {false, true}) {
    if (all_is_lost && is_empty_directory(site.site())) continue;
    SCOPED_TRACE(all_is_lost ? "all is lost" : "the data directory is lost");
    remove_tree(site.data());
    if (all_is_lost) remove_tree(site.site());
    {
      const std::unique_ptr<RestoredServer> server =
          site.restore({"restore", "--in-place", "--yes", "--start", "--to-immediate"});
      expect_in_force(*server);
      for (const auto& [name, value] : roles)
        EXPECT_EQ(server->value(fmt::format("SHOW {}", name)), value) << name;
      EXPECT_EQ(server->value("SHOW data_directory"), site.data());
      if (layout().restored) layout().restored(site);
      EXPECT_TRUE(cluster::stop_server(site.data(), cluster::ShutdownMode::kFast,
                                       std::chrono::minutes(2), {}));
      // And as ever, by the command that always started it.
      site.start();
      EXPECT_EQ(site.value("SELECT pg_catalog.count(*) FROM public.kept"), "100");
      for (const auto& [name, value] : roles)
        EXPECT_EQ(site.value(fmt::format("SHOW {}", name)), value) << name;
      site.crash();
    }
  }
}

// --- A setting of the command line ---------------------------------------------------------------

TEST(CommandLine, OfTheServerIsNamedWhereNoFileAndNoRestartCanChangeIt) {
  Site site(15);
  site.command_line = {{"archive_mode", "off"}};
  site.start();
  site.must({"init"});
  const Captured init = site.run({"init", "--configure-server"});
  EXPECT_EQ(init.status.code, 1) << describe(init);
  EXPECT_NE(init.err.find("archive_mode is set on the server's command line"), std::string::npos)
      << init.err;
  EXPECT_EQ(read_text_file(site.data("postgresql.auto.conf")).find("archive_"), std::string::npos);
  const Captured check = site.run({"check"});
  EXPECT_NE(check.out.find("It stands on the server's command line (-c archive_mode=...:"),
            std::string::npos)
      << check.out;
  EXPECT_EQ(check.out.find("Restart the server"), std::string::npos) << check.out;
}

TEST(CommandLine, ThatArchivedAndIsGoneIsSaidLoudlyAfterARestore) {
  Site site(15);
  Site::append_to(site.data("postgresql.conf"), "archive_mode = off\n");
  site.command_line = {{"archive_mode", "on"}};
  site.start();
  site.must({"init", "--configure-server"});
  site.must({"backup"});
  site.crash();
  // Whoever starts it by hand may not know of the command line.
  const Captured restored = site.run({"restore", "--in-place", "--yes"});
  EXPECT_EQ(restored.status.code, 0) << describe(restored);
  EXPECT_NE(restored.err.find("THIS SERVER DOES NOT ARCHIVE"), std::string::npos) << restored.err;
  EXPECT_NE(restored.err.find("start it with them again: archive_mode"), std::string::npos)
      << restored.err;
}

// --- Another machine ----------------------------------------------------------------------------

TEST(ANewMachine, IsToldThatTheArchiveCommandWhichWasLaidDoesNotWorkThere) {
  Site site(15);
  site.start();
  site.must({"init", "--configure-server"});
  site.must({"backup"});
  site.crash();
  // The repository alone is at hand: the archive_command names a configuration that is not there.
  const std::string config = site.path("holdfast.toml");
  rename_path(config, config + ".lost");
  remove_tree(site.data());
  const std::vector<std::string> restore = {"--repo", site.path("repo"), "-c",
                                            "main",   "restore",         "--in-place",
                                            "--yes",  "--pgdata",        site.data()};
  const Captured told = holdfast(restore);
  EXPECT_EQ(told.status.code, 0) << describe(told);
  EXPECT_NE(told.err.find("THIS SERVER DOES NOT ARCHIVE: its archive_command"), std::string::npos)
      << told.err;
  EXPECT_NE(told.err.find(config), std::string::npos) << told.err;
  // The command as it is to be typed here, where no configuration says the rest.
  EXPECT_NE(told.err.find(fmt::format("\"holdfast --repo {} --pgdata {} -c main init "
                                      "--configure-server --replace\"",
                                      site.path("repo"), site.data())),
            std::string::npos)
      << told.err;
  // With its configuration there is nothing to tell.
  rename_path(config + ".lost", config);
  const Captured silent = holdfast(restore);
  EXPECT_EQ(silent.status.code, 0) << describe(silent);
  EXPECT_EQ(silent.err.find("DOES NOT ARCHIVE"), std::string::npos) << silent.err;
}

// --- A copy, moved and cloned --------------------------------------------------------------------

TEST(CopyOfASite, StartsOnItselfWhereverItIsMovedOrCloned) {
  Site site(15);
  site.start();
  site.must({"init", "--configure-server"});
  site.connect().query("CREATE TABLE public.kept AS SELECT g FROM generate_series(1, 100) g");
  site.must({"backup"});
  const std::unique_ptr<RestoredServer> copy =
      site.restore({"restore", "--into", site.path("copy"), "--start"});
  // As a replica is made of it: from its running server.
  run_checked(
      {.arguments = {test_installation(15).program("pg_basebackup"), "--pgdata", site.path("clone"),
                     "--checkpoint", "fast", "--no-sync", "--dbname", copy->conninfo()}});
  EXPECT_TRUE(cluster::stop_server(site.path("copy"), cluster::ShutdownMode::kFast,
                                   std::chrono::minutes(1), {}));
  rename_path(site.path("copy"), site.path("moved"));
  const auto start_by_hand = [&](const std::string& directory) {
    auto process = std::make_unique<cluster::ServerProcess>(
        cluster::ServerStart{.installation = test_installation(15),
                             .data_directory = directory,
                             .log_file = directory + ".log"});
    const std::optional<Error> error = holdfast::error_of([&] {
      process->wait_until_accepting(cluster::ServerProcess::Until::kReady, std::chrono::minutes(1),
                                    {});
    });
    EXPECT_FALSE(error) << read_text_file(directory + ".log");
    return process;
  };
  const auto ask = [&](const std::string& directory, const std::string& statement) {
    return Connection::connect({.conninfo = fmt::format("host={}/pg_stat_tmp port=5432 "
                                                        "user=postgres dbname=postgres",
                                                        directory)},
                               {})
        .query_value(statement);
  };
  // Beside each other, and beside production.
  {
    const auto moved = start_by_hand(site.path("moved"));
    const auto clone = start_by_hand(site.path("clone"));
    for (const std::string& directory : {site.path("moved"), site.path("clone")}) {
      EXPECT_EQ(ask(directory, "SHOW data_directory"), directory);
      EXPECT_EQ(ask(directory, "SHOW hba_file"), directory + "/pg_hba.conf");
      EXPECT_EQ(ask(directory, "SHOW archive_mode"), "off");
    }
    ask(site.path("clone"), "WITH gone AS (DELETE FROM public.kept RETURNING 1) SELECT 1");
    EXPECT_EQ(ask(site.path("moved"), "SELECT pg_catalog.count(*) FROM public.kept"), "100");
    EXPECT_EQ(site.value("SELECT pg_catalog.count(*) FROM public.kept"), "100");
    moved->stop(cluster::ShutdownMode::kFast);
    clone->stop(cluster::ShutdownMode::kFast);
  }
  // And then one of them becomes the server, when the one that was it runs no more.
  const Captured early = site.run({"finish", "--production", site.path("moved")});
  EXPECT_EQ(early.status.code, 5) << describe(early);
  // Also where the configuration does not tell where that one is.
  const Captured elsewhere =
      site.run({"--pgdata", site.path("moved"), "finish", "--production", site.path("moved")});
  EXPECT_EQ(elsewhere.status.code, 5) << describe(elsewhere);
  EXPECT_NE(elsewhere.err.find("answers at conninfo"), std::string::npos) << elsewhere.err;
  site.crash();
  const Json finished = site.must({"finish", "--production", site.path("moved")});
  EXPECT_TRUE(finished.at("production").as_bool());
  const auto production = start_by_hand(site.path("moved"));
  EXPECT_EQ(site.value("SHOW data_directory"), site.path("moved"));
  EXPECT_EQ(site.value("SHOW archive_mode"), "on");
  EXPECT_EQ(site.value("SELECT pg_catalog.count(*) FROM public.kept"), "100");
  const Captured again = site.run({"finish", "--production", site.path("moved")});
  EXPECT_EQ(again.status.code, 1) << describe(again);
  production->stop(cluster::ShutdownMode::kFast);
}

// --- A standby beside it -------------------------------------------------------------------------

// The primary's backup, then a newer one of its standby, with addresses of its own.
class SiteWithStandby : public testing::Test {
 protected:
  SiteWithStandby() : site_(15) {
    site_.start();
    site_.must({"init", "--configure-server"});
    site_.connect().query("CREATE TABLE public.kept AS SELECT g FROM generate_series(1, 100) g");
    of_primary_ = site_.must({"backup"}).at("backup").at("id").as_string();
    run_checked({.arguments = {test_installation(15).program("pg_basebackup"), "--pgdata",
                               standby(), "--checkpoint", "fast", "--no-sync",
                               "--write-recovery-conf", "--dbname", site_.conninfo()}});
    Site::append_to(join_path(standby(), "postgresql.conf"),
                    fmt::format("port = 6637\nunix_socket_directories = '{}'\n", standby()));
    process_ = std::make_unique<cluster::ServerProcess>(
        cluster::ServerStart{.installation = test_installation(15),
                             .data_directory = standby(),
                             .log_file = site_.path("standby.log")});
    process_->wait_until_accepting(cluster::ServerProcess::Until::kReadOnly,
                                   std::chrono::minutes(1), {});
    site_.must({"backup", "--pgdata", standby(), "--conninfo",
                fmt::format("host={} port=6637 user=postgres dbname=postgres", standby())});
  }
  ~SiteWithStandby() override { process_.reset(); }
  std::string standby() const { return site_.path("standby"); }

  Site site_;
  std::string of_primary_;
  std::unique_ptr<cluster::ServerProcess> process_;
};

TEST_F(SiteWithStandby, ThePrimaryIsRestoredWithItsOwnConfiguration) {
  site_.crash();
  Site::append_to(site_.data("postgresql.conf"), "work_mem = 11MB\n");
  {
    const std::unique_ptr<RestoredServer> server =
        site_.restore({"restore", "--in-place", "--yes", "--start"});
    EXPECT_TRUE(server->result().at("plan").at("backup").as_string() != of_primary_);
    EXPECT_EQ(server->result().at("configuration").as_string(), "as it is there");
    EXPECT_EQ(site_.value("SHOW work_mem"), "11MB");
    EXPECT_EQ(site_.value("SHOW port"), "5432");
    EXPECT_EQ(site_.value("SHOW primary_conninfo"), "");
  }
  // The directory is gone: the files of the primary's backup, the data of the standby's.
  {
    const std::unique_ptr<RestoredServer> server =
        site_.restore({"restore", "--in-place", "--yes", "--start", "--to-immediate"});
    EXPECT_NE(server->result().at("configuration").as_string().find(of_primary_),
              std::string::npos);
    EXPECT_EQ(site_.value("SHOW work_mem"), "7MB");
    EXPECT_EQ(site_.value("SHOW port"), "5432");
    EXPECT_EQ(site_.value("SHOW archive_mode"), "on");
  }
  // There is no other: without its addresses, and all of them are named.
  site_.must({"backup", "delete", of_primary_, "--yes"});
  const Captured restored = site_.run({"restore", "--in-place", "--yes", "--to-immediate"});
  EXPECT_EQ(restored.status.code, 0) << describe(restored);
  for (const char* name : {"port", "unix_socket_directories", "primary_conninfo"})
    EXPECT_NE(restored.err.find(fmt::format("{} = '", name)), std::string::npos) << restored.err;
  for (const char* file : {"postgresql.conf", "postgresql.auto.conf"}) {
    const std::string text = read_text_file(site_.data(file));
    EXPECT_EQ(text.find("\nport = "), std::string::npos) << text;
    EXPECT_EQ(text.find("\nprimary_conninfo"), std::string::npos) << text;
  }
  EXPECT_NE(restored.out.find("(standby), without its port and addresses"), std::string::npos)
      << restored.out;
}

TEST_F(SiteWithStandby, TheStandbysDirectoryBecomesAPrimaryOnlyByAWord) {
  const Captured finish = site_.run({"finish", standby()});
  EXPECT_EQ(finish.status.code, 1) << describe(finish);
  EXPECT_NE(finish.err.find("is the data directory of a standby"), std::string::npos) << finish.err;
  process_->stop(cluster::ShutdownMode::kFast);
  const std::vector<std::string> before = listing(standby());
  const std::vector<std::string> in_place = {"restore", "--in-place", "--yes", "--pgdata",
                                             standby()};
  for (const bool on_paper : {true, false}) {
    std::vector<std::string> words = in_place;
    if (on_paper) words.emplace_back("--dry-run");
    const Captured refused = site_.run(words);
    EXPECT_EQ(refused.status.code, 1) << describe(refused);
    EXPECT_NE(refused.err.find("is the data directory of a standby"), std::string::npos)
        << refused.err;
    EXPECT_NE(refused.err.find("--action promote"), std::string::npos) << refused.err;
  }
  EXPECT_EQ(listing(standby()), before);
  // Its signal may be lost with it; the backup knows what it was.
  remove_tree(standby());
  std::vector<std::string> words = in_place;
  words.emplace_back("--server-is-dead");
  EXPECT_EQ(site_.run(words).status.code, 1);
  words = in_place;
  words.insert(words.end(), {"--action", "promote", "--dry-run"});
  site_.must(words);
}

std::string layout_name(const testing::TestParamInfo<std::tuple<int, size_t>>& info) {
  return fmt::format("{}On{}", layouts().at(std::get<1>(info.param)).name, std::get<0>(info.param));
}
INSTANTIATE_TEST_SUITE_P(Each, LayoutsTest,
                         testing::Combine(testing::Values(15),
                                          testing::Range(size_t{0}, layouts().size())),
                         layout_name);
INSTANTIATE_TEST_SUITE_P(LongEach, LayoutsTest,
                         testing::Combine(testing::ValuesIn([] {
                                            std::vector<int> others = every_major();
                                            std::erase(others, 15);
                                            return others;
                                          }()),
                                          testing::Range(size_t{0}, layouts().size())),
                         layout_name);

}  // namespace
}  // namespace holdfast::test
