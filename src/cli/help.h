// help.h: what --help and "help COMMAND" print, within 80 columns.
//
//   what the command does
//   Usage:      its lines
//   Commands:   those below it
//   Options:    its own, by group; then those of every command; then the names of all settings
//   Examples:   two or so
#pragma once

#include <string>
#include <vector>

namespace holdfast::cli {

struct HelpItem {
  std::string term;     // "-c, --cluster NAME"; "list"
  std::string meaning;  // a sentence without its full stop
  std::string group = {};
};

struct HelpPage {
  std::string command;  // "backup list"; empty: the program's own page
  std::string meaning;
  std::string words = {};                 // what stands behind its options: "ID", "[BACKUP...]"
  bool needs_command = false;             // alone it does nothing
  std::vector<HelpItem> commands = {};    // below it
  std::vector<HelpItem> options = {};     // its own, in groups that stand together
  std::vector<HelpItem> everywhere = {};  // of every command
  std::vector<HelpItem> settings = {};    // of every command, and of the configuration file
};

std::string help_text(const HelpPage& page);

}  // namespace holdfast::cli
