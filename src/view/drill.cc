#include "view/drill.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/process.h"
#include "view/table.h"

namespace holdfast::view {
namespace {

using Lines = std::vector<std::pair<std::string, std::string>>;

struct Phase {
  const char* name;
  const char* meaning;
  Microseconds took;
};
std::array<Phase, 5> phases(const repo::DrillReport& report) {
  return {{{"plan", "choosing backup and WAL", report.plan_time},
           {"lay", "writing the files of the backup", report.lay_time},
           {"replay", "starting the server and replaying WAL", report.replay_time},
           {"promote", "opening it for work", report.promote_time},
           {"write", "to the first write", report.write_time}}};
}

std::string allowed(const std::optional<Microseconds>& duration) {
  return duration ? fmt::format(" (allowed: {})", to_human(*duration)) : "";
}

// "0", "14 s", "unknown"
std::string loss_figure(const repo::DrillReport& report) {
  if (!report.loss_time) return "unknown";
  return report.lost_transactions == 0 ? "0" : to_human(*report.loss_time);
}

std::string loss_words(const repo::DrillReport& report) {
  if (!report.loss_time) return fmt::format("unknown. {}", report.loss_note);
  if (report.lost_transactions == 0)
    return report.lost_bytes.value_or(0) == 0
               ? "nothing"
               : fmt::format("no transaction; {} of WAL without any",
                             to_human_bytes(report.lost_bytes.value_or(0)));
  return fmt::format("{}: {} and {} of WAL", to_human(*report.loss_time),
                     plural(report.lost_transactions.value_or(0), "transaction"),
                     to_human_bytes(report.lost_bytes.value_or(0)));
}

// "1 statement", "2 B-tree indexes": a report names them in the plural.
std::string counted(uint64_t count, std::string_view what) {
  if (count == 1) what.remove_suffix(what.ends_with("xes") ? 2 : 1);
  return fmt::format("{} {}", count, what);
}

std::string check_words(const repo::DrillCheck& check) {
  if (check.state == "not run") return fmt::format("not run. {}", check.note);
  std::string words = check.state;
  if (check.failure_count > 0 && check.count > 0)
    words += fmt::format(", {} of {} {}", check.failure_count, check.count, check.what);
  else if (check.failure_count == 0)
    words += fmt::format(", {}", counted(check.count, check.what));
  words += fmt::format(" in {}", to_human(check.took));
  return check.note.empty() ? words : fmt::format("{}. {}", words, check.note);
}

std::string machine_words(const repo::DrillReport& report) {
  return fmt::format("{}: {} x {}, {} of memory, {} at {}", report.host, report.processors,
                     report.processor.empty() ? "processor" : report.processor,
                     to_human_bytes(report.memory_bytes), report.file_system, report.directory);
}

Lines lines_of(const repo::DrillReport& report) {
  Lines lines = {
      {"drill",
       fmt::format("{} of cluster {}, {}", report.id, report.cluster, to_local(report.started))},
  };
  if (report.kind == "destroy") lines.emplace_back("place", "the cluster itself, destroyed");
  if (!report.backup.empty()) {
    lines.emplace_back("backup",
                       fmt::format("{}, ended at {}", report.backup, to_local(report.backup_time)));
    lines.emplace_back(
        "target", fmt::format("{}, timeline {}, {} to replay", report.target,
                              pg::to_string(report.timeline), plural(report.segments, "segment")));
  }
  if (!report.error.empty()) lines.emplace_back("error", report.error);
  if (!report.recovered) return lines;
  lines.emplace_back("recovery time", fmt::format("{}{}", to_human(report.recovery_time),
                                                  allowed(report.allowed_recovery_time)));
  std::string parts;
  for (const Phase& phase : phases(report))
    parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", phase.name, to_human(phase.took));
  lines.emplace_back("phases", parts);
  lines.emplace_back("loss",
                     fmt::format("{}{}", loss_words(report), allowed(report.allowed_loss_time)));
  for (const repo::DrillCheck& check : report.checks) {
    lines.emplace_back(check.name, check_words(check));
    for (const std::string& failure : check.failures) lines.emplace_back("failed", failure);
    if (check.failure_count > check.failures.size())
      lines.emplace_back("failed",
                         fmt::format("and {} more", check.failure_count - check.failures.size()));
  }
  lines.emplace_back("machine", machine_words(report));
  lines.emplace_back("cache", report.cache);
  return lines;
}

std::string verdict_words(const repo::DrillReport& report) {
  if (report.passed)
    return fmt::format("Passed: the cluster can be brought back in {}.",
                       to_human(report.recovery_time));
  if (report.missed.empty()) return fmt::format("Failed: {}", report.error);
  return fmt::format("Failed: {}", fmt::join(report.missed, "; "));
}

}  // namespace

std::string text(const repo::DrillReport& report) {
  return fields(lines_of(report)) + verdict_words(report) + "\n";
}

Json json(const repo::DrillReport& report) {
  Json document = Json::object().set("schema", "holdfast.drill.v1");
  const Json body = repo::to_json(report);
  for (const auto& [key, value] : body.members()) document.set(key, value);
  return document;
}

std::string text(const drill::DrillResult& result) {
  std::string out = fields(lines_of(result.report));
  if (!result.kept_directory.empty())
    out += fmt::format("The recovered cluster is kept in \"{}\"; look with: psql {}\n",
                       result.kept_directory, shell_quote(result.connect));
  return out + verdict_words(result.report) + "\n";
}

Json json(const drill::DrillResult& result) {
  Json document = json(result.report);
  if (!result.kept_directory.empty())
    document.set("kept_directory", result.kept_directory).set("connect", result.connect);
  return document;
}

std::string text(const drill::DestroyResult& result) {
  std::string out = fields(lines_of(result.report));
  if (result.aside.empty())
    out += "What was moved aside was removed. Take a backup now: holdfast backup\n";
  else
    out +=
        fmt::format("What was moved aside is kept, because {}. {}\n",
                    !result.report.passed                   ? "the drill failed"
                    : result.report.lost_transactions == 0U ? "the backup does not have all of it"
                                                            : "commits were lost or may have been",
                    restore::how_to_put_back(result.data_directory, result.aside));
  return out + verdict_words(result.report) + "\n";
}

Json json(const drill::DestroyResult& result) {
  Json aside = Json::array();
  for (const auto& [from, to] : result.aside)
    aside.push(Json::object().set("from", from).set("to", to));
  return json(result.report)
      .set("data_directory", result.data_directory)
      .set("aside", std::move(aside));
}

std::string text(const std::vector<repo::DrillReport>& reports) {
  if (reports.empty()) return "There is no drill yet. Next: run \"holdfast drill\".\n";
  std::vector<std::vector<std::string>> rows;
  for (const repo::DrillReport& report : reports) {
    const auto passed = std::ranges::count(report.checks, "passed", &repo::DrillCheck::state);
    const auto not_run = std::ranges::count(report.checks, "not run", &repo::DrillCheck::state);
    rows.push_back({report.id, report.kind, report.recovered ? to_human(report.recovery_time) : "-",
                    report.recovered ? loss_figure(report) : "-",
                    report.recovered
                        ? fmt::format("{} of {}{}", passed, report.checks.size(),
                                      not_run > 0 ? fmt::format(", {} not run", not_run) : "")
                        : "-",
                    report.passed ? "passed" : "failed"});
  }
  return table({"drill", "kind", "RTO", "RPO", "checks", "verdict"}, rows);
}

Json json(const std::vector<repo::DrillReport>& reports) {
  Json list = Json::array();
  for (const repo::DrillReport& report : reports) list.push(repo::to_json(report));
  return Json::object().set("schema", "holdfast.drill_list.v1").set("drills", std::move(list));
}

// --- HTML ---------------------------------------------------------------------------------------

namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

constexpr std::string_view kStyle = R"(
:root { color-scheme: light; --ink: #1d2733; --soft: #5c6b7a; --line: #dfe5eb; --good: #14713d;
  --bad: #b3261e; --page: #fff; --tint: #f5f7f9 }
* { box-sizing: border-box }
body { margin: 0; background: var(--tint); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif }
main { max-width: 880px; margin: 32px auto; padding: 40px 48px; background: var(--page);
  border: 1px solid var(--line); border-radius: 10px }
h1 { margin: 0 0 4px; font-size: 26px; line-height: 1.25 }
h2 { margin: 36px 0 12px; font-size: 17px }
p { margin: 8px 0 }
.soft { color: var(--soft) }
.verdict { display: inline-block; margin: 0 0 16px; padding: 3px 14px; border-radius: 99px;
  color: #fff; font-weight: 600; font-size: 14px }
.good { background: var(--good) } .bad { background: var(--bad) }
.lead { font-size: 18px; margin: 12px 0 0 }
.missed { margin: 20px 0 0; padding: 12px 20px; border-left: 4px solid var(--bad);
  background: #fdf1f0; border-radius: 0 6px 6px 0 }
.missed ul { margin: 4px 0; padding-left: 20px }
.figures { display: flex; gap: 16px; margin: 28px 0 0 }
.figure { flex: 1; padding: 18px 22px; border: 1px solid var(--line); border-radius: 8px }
.figure b { display: block; font-size: 32px; line-height: 1.2; font-weight: 650 }
.figure .name { font-weight: 600 }
.over b { color: var(--bad) }
.bar { display: flex; height: 26px; border-radius: 6px; overflow: hidden; background: var(--line) }
.bar i { min-width: 2px }
.c0 { background: #9db2c7 } .c1 { background: #33658a } .c2 { background: #5a9bbf }
.c3 { background: #86bbd8 } .c4 { background: #f2b134 }
.legend { display: flex; flex-wrap: wrap; gap: 4px 24px; margin: 10px 0 0; padding: 0;
  list-style: none; font-size: 14px }
.legend i { display: inline-block; width: 11px; height: 11px; margin-right: 7px; border-radius: 3px }
table { width: 100%; border-collapse: collapse; font-size: 15px }
td, th { padding: 7px 10px 7px 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; overflow-wrap: anywhere }
th { font-weight: 600; color: var(--soft); font-size: 13px }
.state { white-space: nowrap; font-weight: 600 }
.passed { color: var(--good) } .failed { color: var(--bad) } .not { color: var(--soft) }
td ul { margin: 4px 0 0; padding-left: 18px; color: var(--bad); font-size: 14px }
.facts td:first-child { width: 190px; color: var(--soft) }
footer { margin-top: 32px; font-size: 13px; color: var(--soft) }
@media (max-width: 640px) { main { margin: 0; padding: 24px 20px; border: 0 }
  .figures { flex-direction: column } }
@media print { body { background: none } main { margin: 0; border: 0; padding: 0 }
  .verdict, .bar i, .legend i { print-color-adjust: exact; -webkit-print-color-adjust: exact } }
)";

// What each check means to somebody who does not know the server.
std::string check_meaning(const std::string& name) {
  const struct {
    std::string_view name, meaning;
  } known[] = {
      {"recovered", "What came back is what had been committed and archived"},
      {"databases", "Every database can be connected to and its catalogue read"},
      {"indexes", "Every B-tree index is in order and agrees with its table"},
      {"tables", "Every row of every table is well-formed"},
      {"dump", "Every row of every database can be read (a full dump)"},
      {"sql", "Your own statements are true"},
      {"pages", "Every page on disk has the checksum it was written with"},
  };
  for (const auto& one : known)
    if (one.name == name) return std::string(one.meaning);
  return name;
}

std::string lead(const repo::DrillReport& report) {
  const std::string what =
      report.kind == "destroy"
          ? fmt::format("Cluster “{}” was stopped and put aside, and brought back", report.cluster)
          : fmt::format("A copy of cluster “{}” was brought back", report.cluster);
  if (!report.recovered)
    return fmt::format("Cluster “{}” could not be brought back from its backups: {}",
                       report.cluster, report.error);
  std::string lost = "It is not known whether anything that had been committed would be lost.";
  if (report.loss_time && report.lost_transactions == 0)
    lost = "Nothing that had been committed was lost.";
  else if (report.loss_time)
    lost = fmt::format("{} of the last {} would be lost.",
                       plural(report.lost_transactions.value_or(0), "transaction"),
                       to_human(*report.loss_time));
  else if (report.target.find("end of the archived WAL") == std::string::npos)
    lost = "It was brought back to a chosen moment; what came later was left out on purpose.";
  return fmt::format("{} from its backups alone. It could be worked with after {}. {}", what,
                     to_human(report.recovery_time), lost);
}

std::string figure(std::string_view name, std::string_view value, std::string_view meaning,
                   const std::optional<Microseconds>& limit, bool is_over) {
  return fmt::format(
      "<div class=\"figure{}\"><span class=\"name\">{}</span><b>{}</b><span "
      "class=\"soft\">{}{}</span></div>\n",
      is_over ? " over" : "", name, escaped(value), meaning,
      limit ? fmt::format("<br>Objective: at most {}.", to_human(*limit)) : "");
}

std::string phases_html(const repo::DrillReport& report) {
  std::string bar, legend;
  int64_t whole = 0;
  for (const Phase& phase : phases(report)) whole += phase.took.count();
  int color = 0;
  for (const Phase& phase : phases(report)) {
    const double share =
        whole == 0 ? 0
                   : 100.0 * static_cast<double>(phase.took.count()) / static_cast<double>(whole);
    bar += fmt::format("<i class=\"c{}\" style=\"width:{:.2f}%\"></i>", color, share);
    legend += fmt::format("<li><i class=\"c{}\"></i>{}: {}</li>\n", color, phase.meaning,
                          to_human(phase.took));
    ++color;
  }
  return fmt::format(
      "<h2>Where the time went</h2>\n<div class=\"bar\">{}</div>\n<ul "
      "class=\"legend\">\n{}</ul>\n",
      bar, legend);
}

std::string checks_html(const repo::DrillReport& report) {
  std::string rows;
  for (const repo::DrillCheck& check : report.checks) {
    std::string failures;
    for (const std::string& failure : check.failures)
      failures += fmt::format("<li>{}</li>", escaped(failure));
    if (check.failure_count > check.failures.size())
      failures += fmt::format("<li>and {} more</li>", check.failure_count - check.failures.size());
    rows += fmt::format(
        "<tr><td>{}{}{}</td><td>{}</td><td>{}</td><td class=\"state {}\">{}</td></tr>\n",
        escaped(check_meaning(check.name)),
        check.note.empty() ? "" : "<br><span class=\"soft\">" + escaped(check.note) + "</span>",
        failures.empty() ? "" : "<ul>" + failures + "</ul>",
        check.state == "not run" ? "" : fmt::format("{} {}", check.count, escaped(check.what)),
        check.state == "not run" ? "" : to_human(check.took),
        check.state == "passed"   ? "passed"
        : check.state == "failed" ? "failed"
                                  : "not",
        escaped(check.state));
  }
  return "<h2>What was checked</h2>\n<table>\n<tr><th>Check</th><th>Looked at</th><th>Took</th>"
         "<th>Result</th></tr>\n" +
         rows + "</table>\n";
}

std::string facts_html(const repo::DrillReport& report) {
  Lines facts = {
      {"Drill", report.id},
      {"The disaster", to_local(report.started)},
      {"Ended", to_local(report.finished)},
      {"Server",
       fmt::format("PostgreSQL {}, lineage {}", report.major, repo::to_string(report.lineage))},
      {"Backup used", fmt::format("{}, ended at {}", report.backup, to_local(report.backup_time))},
      {"Recovered to", report.target},
      {"Restored", fmt::format("{}, {}; {} of WAL replayed", plural(report.files, "file"),
                               to_human_bytes(report.bytes), plural(report.segments, "segment"))},
  };
  if (report.last_recovered)
    facts.emplace_back("Last transaction recovered", to_local(*report.last_recovered));
  if (report.recovered_end)
    facts.emplace_back("WAL recovered up to", pg::to_string(*report.recovered_end));
  if (report.flushed)
    facts.emplace_back("Server had written up to", pg::to_string(*report.flushed));
  facts.emplace_back("How the loss is known", report.loss_note);
  if (report.kind != "destroy")
    facts.emplace_back(
        "Kept apart from production",
        report.sandboxed ? "in a sandbox: its files, tablespaces, sockets and network out of reach"
                         : "by its settings; this system permits no sandbox");
  facts.emplace_back("Machine", machine_words(report));
  facts.emplace_back("Caches", report.cache);
  facts.emplace_back("Made by", fmt::format("holdfast {}", report.tool));
  std::string rows;
  for (const auto& [name, value] : facts)
    if (!value.empty())
      rows += fmt::format("<tr><td>{}</td><td>{}</td></tr>\n", name, escaped(value));
  return "<h2>Particulars</h2>\n<table class=\"facts\">\n" + rows + "</table>\n";
}

}  // namespace

std::string html(const repo::DrillReport& report) {
  std::string missed;
  for (const std::string& line : report.missed)
    missed += fmt::format("<li>{}</li>\n", escaped(line));
  if (!missed.empty())
    missed = "<div class=\"missed\"><b>Why it failed</b><ul>\n" + missed + "</ul></div>\n";
  std::string body = fmt::format(
      "<span class=\"verdict {}\">{}</span>\n<h1>Recovery drill of cluster “{}”</h1>\n<p "
      "class=\"soft\">{}</p>\n<p class=\"lead\">{}</p>\n{}",
      report.passed ? "good" : "bad", report.passed ? "Passed" : "Failed", escaped(report.cluster),
      to_local(report.started), escaped(lead(report)), missed);
  if (report.recovered) {
    const bool is_late =
        report.allowed_recovery_time && report.recovery_time > *report.allowed_recovery_time;
    const bool is_lossy = report.allowed_loss_time &&
                          (!report.loss_time || *report.loss_time > *report.allowed_loss_time);
    body += "<div class=\"figures\">\n" +
            figure("Recovery time", to_human(report.recovery_time),
                   "From the disaster to the first write.", report.allowed_recovery_time, is_late) +
            figure("Loss", loss_figure(report), "Age of the oldest commit that did not come back.",
                   report.allowed_loss_time, is_lossy) +
            "</div>\n" + phases_html(report) + checks_html(report);
  }
  body += facts_html(report);
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta "
      "name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Recovery drill "
      "{} of {}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n{}<footer>A drill restores "
      "the cluster from the repository alone, starts it and checks it. The recovery time runs from "
      "the played disaster to the first successful write; checks are not part of it. The loss is "
      "0 when every commit came back.</footer>\n</main>\n</body>\n</html>\n",
      escaped(report.id), escaped(report.cluster), kStyle, body);
}

}  // namespace holdfast::view
