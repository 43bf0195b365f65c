#include "cli/call.h"

#include <fcntl.h>

#include <gtest/gtest.h>

#include "base/file.h"

namespace holdfast::cli {
namespace {

TEST(ArchivePlaceOf, IsWhatTheCommandsOptionsAndItsConfigurationSay) {
  const TemporaryDirectory directory("holdfast-place");
  const std::string file = join_path(directory.path(), "h.toml");
  const std::string text = "[repo]\nurl = \"" + directory.path() + "/r\"\n[cluster.shop]\n";
  write_all(open_file(file, O_WRONLY | O_CREAT), as_bytes(text), file);
  const std::string real = directory.path() + "/r";
  using setup::ArchivePlace;
  const struct {
    std::string command;
    std::optional<ArchivePlace> place;
  } cases[] = {
      {"holdfast --config " + file + " wal push %p", ArchivePlace{"shop", real}},
      {"/usr/bin/holdfast --config=" + file + " -c other wal push \"%p\"",
       ArchivePlace{"other", real}},
      {"holdfast --repo '/a %% b' --cluster x wal push %p", ArchivePlace{"x", "/a % b"}},
      {"holdfast --repo file:///a/../b --cluster x wal push %p", ArchivePlace{"x", "/b"}},
      {"holdfast --repo /b --cluster x --repo-id 01000000000000000000000000000000 wal push %p",
       ArchivePlace{"x", "/b", Bytes16{.bytes = {std::byte{1}}}}},
      // More than archiving, less than a command, and what cannot be read.
      {"holdfast --repo /a -c x wal push %p && cp %p /b", std::nullopt},
      {"holdfast --repo /a -c x wal list", std::nullopt},
      {"holdfast --config /nowhere.toml wal push %p", std::nullopt},
      {"holdfast --no-such-option wal push %p", std::nullopt},
      {"HOLDFAST_REPO=/b holdfast -c x wal push %p", std::nullopt},
  };
  for (const auto& c : cases) EXPECT_EQ(archive_place_of(c.command), c.place) << c.command;
}

}  // namespace
}  // namespace holdfast::cli
