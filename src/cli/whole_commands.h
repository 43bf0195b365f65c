// whole_commands.h: the commands that are named in what is printed, with what this call was told.
//
// The rooms below write "holdfast backup" and know no more. Where it is printed it becomes
// "holdfast -c shop backup" if this call was for that cluster: whoever pastes it reaches the same
// configuration, repository and cluster. So "holdfast wal push 00000002.history", of a file of the
// server's pg_wal, names it with its whole path where the data directory is known and has it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace holdfast::cli {

class WholeCommands {
 public:
  // An option that says where: the names that it has, and the words that give it, for a shell.
  struct Option {
    std::vector<std::string> names;
    std::string words;
  };

  WholeCommands() = default;
  WholeCommands(std::vector<Option> options, std::vector<std::string> verbs)
      : options_(std::move(options)), verbs_(std::move(verbs)) {}

  // The one that cluster.pgdata names; empty: nobody has named one.
  void set_data_directory(std::string directory) { data_directory_ = std::move(directory); }

  // Every "holdfast VERB ..." of the text: at the beginning of a line, or behind a quote, a bracket
  // or one blank. It ends with the quote or the line. What it has already is not given twice, and
  // what is complete is not changed.
  std::string complete(std::string_view text) const;
  // The same in the sentences of a document, which are its members "message", "detail", "hint" and
  // "summary"; REQUIRES: they are text.
  Json complete_sentences(const Json& document) const;

 private:
  bool is_command(std::string_view text, size_t at) const;

  std::vector<Option> options_;
  std::vector<std::string> verbs_;  // the first words of commands
  std::string data_directory_;
};

}  // namespace holdfast::cli
