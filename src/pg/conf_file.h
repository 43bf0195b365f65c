// conf_file.h: PostgreSQL's configuration text: postgresql.conf, postgresql.auto.conf.
//
//   name [=] value # comment
//
// A value is a word, a number or 'quoted', with '' and backslash escapes. A line is one setting; of
// several assignments of one name the last counts; names ignore case. What is not changed stays
// byte for byte. Settings of our own stand in a marked block at the end, so that they win, and so
// that exactly they can be taken out:
//
//   # holdfast: begin
//   recovery_target_time = '2026-11-22 08:22:39.544793+00'
//   # holdfast: end
//
// A copy has a second block before that, "# holdfast copy: begin", which outlives its recovery.
//
// ALTER SYSTEM rewrites postgresql.auto.conf, keeps the settings and drops the comments, markers
// included: remove_settings() takes settings out by name and value where the block is no longer to
// be found.
//
// Facts: guc-file.l (DeescapeQuotedString too), guc.c (write_auto_conf_file), PostgreSQL 13 to 18.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::pg {

struct ConfSetting {
  std::string name;
  std::string value;

  bool operator==(const ConfSetting&) const = default;
};

enum class ConfLineKind : uint8_t {
  kBlank,    // nothing, or a comment alone
  kSetting,  // name and value
  kInclude,  // include 'file'
  kIncludeIfExists,
  kIncludeDirectory,
  kInvalid,  // the server would refuse the file for this line
};

struct ConfLine {
  ConfLineKind kind = ConfLineKind::kBlank;
  std::string text;  // as it stands in the file, with its line end
  std::string name;
  std::string value;  // unquoted
};

// Beside it, the settings of the recovery's block once more. There for as long as the block is.
inline constexpr const char* kRecoverySettingsFile = "holdfast_recovery.settings";

enum class ConfBlock : uint8_t {
  kRecovery,  // what a recovery needs
  kCopy,      // what keeps a copy apart from production
};

// 'it''s': as a value that the server reads back exactly. Throws kInvalidText for a NUL byte, which
// no setting can hold.
std::string quote_conf_value(std::string_view value);

class ConfFile {
 public:
  // Never throws: lines that the server would refuse are kept as they are, kind kInvalid.
  explicit ConfFile(std::string_view text);

  std::span<const ConfLine> lines() const { return lines_; }
  // The value in force, by this file alone; nullopt when it sets none.
  std::optional<std::string> value(std::string_view name) const;

  // Takes out every assignment of one of these names; returns how many there were.
  size_t remove_names(std::span<const std::string_view> names);
  // Takes out assignments of exactly these values to these names.
  size_t remove_settings(std::span<const ConfSetting> settings);
  // Makes comments of the assignments of these names, and returns what they were.
  std::vector<ConfSetting> comment_out(std::span<const std::string_view> names);
  // Puts our block at the end, in place of an earlier one.
  void set_block(std::span<const ConfSetting> settings, ConfBlock block = ConfBlock::kRecovery);
  // Takes out our block with its markers, and nothing else; returns its settings, nullopt when
  // there is no whole block.
  std::optional<std::vector<ConfSetting>> remove_block(ConfBlock block = ConfBlock::kRecovery);

  std::string to_text() const;

 private:
  std::vector<ConfLine> lines_;
};

}  // namespace holdfast::pg
