#include "cli/drill_commands.h"

#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/prompt.h"
#include "drill/destroy.h"
#include "drill/drill.h"
#include "drill/sql_statements.h"
#include "view/drill.h"

namespace holdfast::cli {
namespace {

template <typename Result>
void show_drill(const Call& call, const Result& result) {
  print(call, view::json(result), view::text(result));
}

// As many as fit a screen, and a year of weekly ones.
constexpr size_t kShownDrills = 60;

std::optional<Microseconds> duration(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return parse_duration(text);
}

// That it is meant, and that this cluster is: its name is typed.
void confirm_destruction(const Call& call, const std::string& data_directory) {
  const std::string& cluster = call.settings.cluster();
  std::string name = call.arguments.confirmed_name;
  const std::string question = fmt::format(
      "Cluster \"{}\" on \"{}\" will be stopped and moved aside, and brought back from the "
      "repository alone. Commits that are not archived will be missing.",
      cluster, data_directory);
  call.reporter.clear();
  if (name.empty())
    name = ask(fmt::format("{}\nType the cluster's name to go on: ", question), call.stop)
               .value_or(std::string());
  if (name != cluster)
    throw Error({.code = ErrorCode::kUsage,
                 .message = "drill --destroy was not confirmed",
                 .detail = question,
                 .hint = fmt::format("Confirm it with --confirm {}, or rehearse in the sandbox "
                                     "alone: holdfast drill.",
                                     cluster)});
}

template <typename Options>
void take_common(const Call& call, const OpenRepository& opened, Options& options) {
  const config::Settings& settings = call.settings;
  const Arguments& arguments = call.arguments;
  if (!arguments.check_file.empty()) {
    Context reading("reading \"{}\"", arguments.check_file);
    options.statements = drill::split_sql(read_text_file(arguments.check_file));
    options.with_statements = true;
  }
  options.allowed_recovery_time = duration(arguments.rto);
  options.allowed_loss_time = duration(arguments.rpo);
  options.restore.cluster = settings.cluster();
  options.restore.lineage = lineage_choice(call);
  options.restore.own_files = own_files(call);
  options.restore.restore_command = restore_command(settings, opened.repository.id());
  options.restore.end_command = recovery_end_command(settings, opened.repository.id());
  options.restore.jobs = settings.integer("jobs");
  options.restore.bindir = settings.text("cluster.bindir");
  options.restore.conninfo = settings.text("cluster.conninfo");
  options.restore.server_environment = server_environment(call);
  options.restore.debian_clusters = debian_clusters();
  options.conninfo = settings.text("cluster.conninfo");
  options.tool_version = HOLDFAST_VERSION;
}

template <typename Result>
int finish_drill(const Call& call, const Result& result, std::optional<DurableFile>& page) {
  print(call, view::json(result), unless_quiet(call, result.report.passed, view::text(result)));
  if (page) {
    page->write(as_bytes(view::html(result.report)));
    page->commit();
  }
  return result.report.passed ? 0 : exit_status(ErrorCode::kObjectiveMissed);
}

}  // namespace

int run_drill(const Call& call) {
  const Arguments& arguments = call.arguments;
  for (const std::string& text : {arguments.rto, arguments.rpo}) duration(text);
  const OpenRepository opened(call);
  opened.lineages();
  // That it cannot be written should not be found out when the drill is over.
  std::optional<DurableFile> page;
  if (!arguments.report_file.empty()) page.emplace(arguments.report_file, 0644);
  if (arguments.destroy) {
    drill::DestroyOptions options;
    take_common(call, opened, options);
    options.pgdata = call.settings.text("cluster.pgdata");
    options.confirm = [&](const std::string& data_directory) {
      confirm_destruction(call, data_directory);
    };
    return finish_drill(
        call, drill::destroy(options, opened.repository, call.clock, call.reporter, call.stop),
        page);
  }
  drill::DrillOptions options;
  take_common(call, opened, options);
  options.restore.target = arguments.target;
  options.restore.sandbox = sandbox_options(call);
  options.directory = call.settings.text("drill.directory");
  options.keep = arguments.keep;
  return finish_drill(
      call, drill::drill(options, opened.repository, call.clock, call.reporter, call.stop), page);
}

int run_drill_list(const Call& call) {
  const OpenRepository opened(call);
  opened.lineages();
  show_drill(call,
             repo::read_drill_reports(opened.repository, opened.cluster, kShownDrills,
                                      [&](const std::string& id, const Error& error) {
                                        call.reporter.warning(fmt::format(
                                            "drill {} is unreadable: {}", id, error.message()));
                                      }));
  return 0;
}

int run_drill_show(const Call& call) {
  const OpenRepository opened(call);
  opened.lineages();
  const repo::DrillReport report =
      repo::resolve_drill_report(opened.repository, opened.cluster, call.arguments.words.front());
  if (call.arguments.html)
    print(call, view::html(report));
  else
    show_drill(call, report);
  return 0;
}

}  // namespace holdfast::cli
