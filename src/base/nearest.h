// nearest.h: what somebody meant who mistyped a word.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast {

// How many letters must be put in, taken out, changed or swapped with the next to make `b` of `a`.
size_t edit_distance(std::string_view a, std::string_view b);

// The one of `known` that is nearest to `word`; nullopt where none is near enough to be meant: a
// third of its letters wrong, at least one.
std::optional<std::string> meant_word(std::string_view word, const std::vector<std::string>& known);

}  // namespace holdfast
