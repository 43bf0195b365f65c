#include "cli/help.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr size_t kWidth = 80;
constexpr size_t kWidestTerm = 26;  // a longer one has a line of its own

// Of a command: the settings that change what it does, and examples. The examples of a command with
// commands below it are those of the whole family.
struct Usual {
  std::string_view command;
  std::vector<std::string_view> settings;
  std::vector<std::string_view> examples;
};

const std::vector<Usual>& usual() {
  static const std::vector<Usual> kUsual = {
      {"",
       {},
       {"holdfast init --configure-server", "holdfast backup", "holdfast info",
        "holdfast restore --into /srv/recovery/copy --to 'yesterday 14:00' --start"}},
      {"init",
       {"--key-file", "--passphrase-file"},
       {"holdfast init --configure-server",
        "holdfast init --encrypt --key-file /etc/holdfast/key"}},
      {"check", {}, {"holdfast check", "holdfast check --max-backup-age 26h"}},
      {"info", {}, {"holdfast info", "holdfast info -c shop --json"}},
      {"backup",
       {"--jobs", "--rate", "--compression"},
       {"holdfast backup --label 'before the upgrade'", "holdfast backup --jobs 4 --rate 100MiB"}},
      {"backup list", {}, {"holdfast backup list"}},
      {"backup show", {}, {"holdfast backup show latest"}},
      {"backup export",
       {},
       {"holdfast backup export latest --tar /srv/export",
        "holdfast backup export latest --tar - | ssh other tar -x -C /srv/data"}},
      {"backup import",
       {"--jobs", "--compression"},
       {"holdfast backup import --tar /srv/basebackup",
        "zcat base.tar.gz | holdfast backup import --tar -"}},
      {"backup pin", {}, {"holdfast backup pin latest", "holdfast backup pin latest --off"}},
      {"backup delete",
       {},
       {"holdfast backup delete 20261122 --dry-run", "holdfast backup delete 20261122 --yes"}},
      {"backup undelete", {}, {"holdfast backup undelete 20261122"}},
      {"expire", {"--grace"}, {"holdfast expire --dry-run", "holdfast expire"}},
      {"claims", {}, {"holdfast claims", "holdfast claims --end 4f1d"}},
      {"repo",
       {},
       {"holdfast repo list-keys", "holdfast repo add-key --new-key-file /root/second.key"}},
      {"wal", {}, {"holdfast wal list", "holdfast wal salvage /srv/old/data"}},
      {"wal push", {"--look-ahead", "--compression"}, {"archive_command = 'holdfast wal push %p'"}},
      {"wal get",
       {"--read-ahead", "--timeout", "--spool"},
       {"restore_command = 'holdfast wal get %f \"%p\"'"}},
      {"wal salvage", {}, {"holdfast wal salvage /var/lib/postgresql/15/main --dry-run"}},
      {"restore",
       {"--jobs", "--rate", "--bindir"},
       {"holdfast restore --in-place --start",
        "holdfast restore --into /srv/recovery/copy --to 'yesterday 14:00' --start",
        "holdfast restore --into /srv/recovery/copy --to '10 minutes ago' --dry-run"}},
      {"verify", {"--jobs", "--rate"}, {"holdfast verify", "holdfast verify --deep latest"}},
      {"finish",
       {},
       {"holdfast finish /srv/recovery/copy", "holdfast finish /srv/recovery/copy --production"}},
      {"drill",
       {"--jobs", "--drill-directory", "--bindir"},
       {"holdfast drill --check /etc/holdfast/shop.sql --rto 5m --rpo 1m",
        "holdfast drill --report /var/www/drill.html"}},
      {"demo", {}, {"holdfast demo", "holdfast demo --keep"}},
  };
  return kUsual;
}

const Usual* usual_of(std::string_view command) {
  const auto found = std::ranges::find(usual(), command, &Usual::command);
  return found == usual().end() ? nullptr : &*found;
}

// `text` from column `indent` on, broken at blanks; the first line begins there already.
std::string wrapped(std::string_view text, size_t indent) {
  std::string out;
  size_t column = indent;
  while (!text.empty()) {
    const size_t length = std::min(text.find(' '), text.size());
    if (column > indent && column + 1 + length > kWidth) {
      out += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += text.substr(0, length);
    column += length;
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  return out + "\n";
}

void add_items(std::string& out, std::string_view title, const std::vector<HelpItem>& items) {
  if (items.empty()) return;
  size_t widest = 0;
  for (const HelpItem& item : items)
    if (item.term.size() <= kWidestTerm) widest = std::max(widest, item.term.size());
  out += fmt::format("\n{}:\n", title);
  const size_t indent = widest + 4;
  for (const HelpItem& item : items) {
    out += fmt::format("  {}", item.term);
    out += item.term.size() > widest ? "\n" + std::string(indent, ' ')
                                     : std::string(indent - 2 - item.term.size(), ' ');
    out += wrapped(item.meaning, indent);
  }
}

// "--jobs" of "-j, --jobs N".
std::string_view long_name(std::string_view term) {
  term.remove_prefix(term.find("--"));
  return term.substr(0, term.find(' '));
}

void add_options(std::string& out, const HelpPage& page) {
  for (size_t at = 0; at < page.options.size();) {
    const std::string& group = page.options[at].group;
    std::vector<HelpItem> items;
    for (; at < page.options.size() && page.options[at].group == group; ++at)
      items.push_back(page.options[at]);
    add_items(out, group.empty() ? "Options" : group, items);
  }
}

// Those that change what this command does with their meaning, the others by name.
void add_settings(std::string& out, const HelpPage& page) {
  if (page.command.empty()) {
    add_items(out, "Settings (of every command, the environment and the configuration file)",
              page.settings);
    return;
  }
  const Usual* here = usual_of(page.command);
  std::vector<HelpItem> used;
  std::string others;
  for (const HelpItem& setting : page.settings) {
    const std::string_view name = long_name(setting.term);
    if (here != nullptr && std::ranges::find(here->settings, name) != here->settings.end())
      used.push_back(setting);
    else
      others += fmt::format("{}{}", others.empty() ? "" : ", ", name);
  }
  add_items(out, "Settings (also in the environment and the configuration file)", used);
  out += "\n  " + wrapped(fmt::format("{}settings: {}; see \"holdfast help\".",
                                      used.empty() ? "Its " : "Other ", others),
                          2);
}

}  // namespace

std::string help_text(const HelpPage& page) {
  std::string meaning = page.meaning;
  if (!meaning.empty() && meaning.front() >= 'a' && meaning.front() <= 'z')
    meaning.front() = static_cast<char>(meaning.front() - 'a' + 'A');
  std::string out = wrapped(meaning + ".", 0) + "\n";
  const std::string program = page.command.empty() ? "holdfast" : "holdfast " + page.command;
  const std::string_view space = "       ";
  if (!page.needs_command)
    out += fmt::format("Usage: {} [options]{}{}\n", program, page.words.empty() ? "" : " ",
                       page.words);
  if (!page.commands.empty())
    out += fmt::format("{}{} COMMAND [options]\n", page.needs_command ? "Usage: " : space, program);
  add_items(out, "Commands", page.commands);
  add_options(out, page);
  add_items(out, "Options of every command", page.everywhere);
  add_settings(out, page);
  if (const Usual* here = usual_of(page.command); here != nullptr && !here->examples.empty()) {
    out += "\nExamples:\n";
    for (const std::string_view example : here->examples) out += fmt::format("  {}\n", example);
  }
  if (!page.commands.empty())
    out += fmt::format("\n\"holdfast help {}COMMAND\" tells more of one.\n",
                       page.command.empty() ? "" : page.command + " ");
  return out;
}

}  // namespace holdfast::cli
