// push_status.h: whether the server hears how "wal push" ended.
//
// archive_command is a line for a shell, and the server hears its exit status alone. What follows
// the push in it may put one of its own in that place; at 0 the server counts the segment as
// archived and removes it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast::setup {

// Between the program with its settings and the file, in a command that archives by Holdfast.
inline constexpr std::string_view kPush = " wal push ";

struct PushStatus {
  enum class Heard : uint8_t { kYes, kPerhaps, kNo };
  Heard heard = Heard::kYes;
  // What follows in the user's command, with its operator, to be quoted in the warning: "|| true".
  std::string hidden_by = {};
};

// By the text alone: nothing is run. A command that does not say "wal push", such as a script,
// hides nothing that could be seen here.
PushStatus push_status(std::string_view archive_command);

}  // namespace holdfast::setup
