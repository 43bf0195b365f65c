// prompt.h: questions to the person at the terminal. They end with Ctrl-C, as all else does.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

namespace holdfast::cli {

// Prints the question on stderr and returns the line that is typed, without its end; nullopt where
// stdin is no terminal (nothing is printed then) or ends. Throws kInterrupted once `stop` is
// requested.
std::optional<std::string> ask(std::string_view question, const std::stop_token& stop);

// Whether "yes" was answered.
bool agrees(std::string_view question, const std::stop_token& stop);

}  // namespace holdfast::cli
