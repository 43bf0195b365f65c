// checks.h: what a drill asks of the cluster that came back.
//
// Each check looks at everything of its kind and names what failed; one failure ends neither it nor
// the others. A check that cannot be made says why and counts as not run, never as passed. Memory:
// one page of a catalogue's rows, and the failures that are named.
//
// Order: all that needs the server first; the pages last, of a throwaway cluster when it was shut
// down, so that each is read as it was written.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/reporter.h"
#include "base/time.h"
#include "cluster/connection.h"
#include "cluster/installation.h"
#include "drill/sql_statements.h"
#include "repo/drill_report.h"

namespace holdfast::drill {

// A running server, and who may do everything in it.
struct CheckedServer {
  cluster::Installation installation;
  std::string data_directory;  // whoever answers must be the server that works there
  std::string base_conninfo;   // of a superuser
  std::string database;        // one that lets him in
  std::string scratch;         // a directory for the output of programs
  bool is_throwaway = true;    // extensions may be made in it

  // Of a throwaway cluster without what production's databases and roles bring into a session:
  // event and login triggers, libraries, settings. They watch over production, and may refuse us.
  std::string conninfo(const std::string& database_name) const;
  cluster::Connection connect(const std::string& database_name, const std::stop_token& stop) const;
};

class Checks {
 public:
  Checks(CheckedServer server, const Clock& clock, Reporter& reporter, std::stop_token stop);

  // Every database that lets anybody in: connects, and its catalogue can be read; of the others the
  // files are there. First.
  repo::DrillCheck databases();
  // bt_index_check of every B-tree index; verify_heapam of every table, 14 and later.
  repo::DrillCheck indexes();
  repo::DrillCheck tables();
  // pg_dump of every database, to nowhere.
  repo::DrillCheck dump();
  // Each statement gives rows of one column that is true in all of them, and one row at least.
  repo::DrillCheck sql(std::span<const SqlStatement> statements, const std::string& database);

 private:
  template <typename Check>
  repo::DrillCheck timed(std::string name, std::string what, const Check& check);
  std::optional<Error> make_amcheck(cluster::Connection& connection) const;
  // A kind of relations, and how amcheck, in that schema, looks at the one with that oid: what is
  // wrong with it, in words; throws as the server refuses.
  struct Relations {
    std::string noun;
    std::string which;  // joins and conditions on pg_class c
    std::function<std::optional<std::string>(cluster::Connection&, const std::string& oid,
                                             const std::string& amcheck)>
        look;
  };
  void look_at_each(const Relations& relations, const std::string& database,
                    repo::DrillCheck& check);
  repo::DrillCheck each_with_amcheck(const std::string& name, const std::string& what,
                                     const Relations& relations);

  CheckedServer server_;
  const Clock& clock_;
  Reporter& reporter_;
  const std::stop_token stop_;
  std::vector<std::string> databases_;
};

// Every page of every relation file. Of a cluster that runs a page that does not verify is read
// again before it counts: it may be half written. A part of a page behind a file's last whole one
// is noted.
enum class PagesOf : uint8_t { kStopped, kRunning };
repo::DrillCheck check_pages(PagesOf which, const std::string& data_directory, const Clock& clock,
                             Reporter& reporter, const std::stop_token& stop);

// "message: detail", in one line, without a full stop at its end.
std::string words_of(const Error& error);

// Counts a failure, and names it while there is room.
void add_failure(repo::DrillCheck& check, std::string words);

}  // namespace holdfast::drill
