// terminal.h: how wide a terminal is, and colours for what went well and what did not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast::cli {

enum class ColourWhen : uint8_t { kAuto, kAlways, kNever };

// Columns of the terminal at `fd`; 0 when there is none. One that tells nothing has 80.
size_t terminal_width(int fd);

// kAuto: on a terminal that is not "dumb", unless NO_COLOR is set.
bool wants_colour(ColourWhen when, int fd);

// The outcomes that begin a line ("ok", "warning", "failed", "ERROR:", "HOLE:"), and the word
// MISSING, in green, yellow and red.
std::string coloured(std::string_view text);

// Long lines broken at blanks, so that they fit; what follows begins under the line's text, behind
// "name:  " or an outcome. What stands in quotes is not broken, nor a line that ends with a
// command: it is to be pasted.
std::string fitted(std::string_view text, size_t columns);

// Columns that a text takes, and the beginning of it that takes at most `columns`, with "…" where
// something is left out.
size_t columns_of(std::string_view text);
std::string cut_to(std::string_view text, size_t columns);

}  // namespace holdfast::cli
