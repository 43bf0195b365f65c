#include "store/open_store.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "support/error_of.h"

namespace holdfast::store {
namespace {

using test::error_of;

TEST(OpenStore, TakesPathsAndFileUrls) {
  const std::pair<std::string, std::string> cases[] = {
      {"/var/lib/holdfast", "/var/lib/holdfast"},
      {"/var/lib/holdfast/", "/var/lib/holdfast"},
      {"file:///var/lib/holdfast", "/var/lib/holdfast"},
      {"/a/../b//c/.", "/b/c"},
      {"/with a space/%20", "/with a space/%20"},
      {"relative/path", absolute_path("relative/path")},
      {"./x://y", absolute_path("x:/y")},
      {"s3:without-slashes", absolute_path("s3:without-slashes")}};
  for (const auto& [url, path] : cases) EXPECT_EQ(open_store(url)->url(), path) << url;
}

TEST(OpenStore, RefusesWhatItHasNoEngineFor) {
  const struct {
    const char* url;
    const char* detail;
  } cases[] = {{"", "No repository is named."},
               {"s3://bucket/prefix", "This program has no engine for \"s3://\"."},
               {"https://host/path", "This program has no engine for \"https://\"."},
               {"FILE:///path", "This program has no engine for \"FILE://\"."},
               {"://", "This program has no engine for \"://\"."},
               {"file://", "After file:// comes an absolute path."},
               {"file://host/path", "After file:// comes an absolute path."}};
  for (const auto& c : cases)
    for (const std::function<void()>& call : std::vector<std::function<void()>>{
             [&] { open_store(c.url); }, [&] { open_remover(c.url); }, [&] { create_store(c.url); },
             [&] { sweep_uploads(c.url); }}) {
      Error error = error_of(call);
      EXPECT_EQ(error.code(), ErrorCode::kConfiguration);
      EXPECT_EQ(error.message(), fmt::format("invalid repository \"{}\"", c.url));
      EXPECT_EQ(error.detail(), c.detail);
      EXPECT_EQ(error.hint(),
                "Name a directory, as in /var/lib/holdfast or file:///var/lib/holdfast.");
    }
}

TEST(OpenStore, MakesOpensRemovesAndSweepsInOnePlace) {
  TemporaryDirectory directory;
  std::string url = "file://" + join_path(directory.path(), "repository");
  EXPECT_EQ(error_of([&] { open_store(url)->info("x"); }).code(), ErrorCode::kStoreUnavailable);
  create_store(url);
  std::unique_ptr<Store> store = open_store(url);
  EXPECT_TRUE(store->create("x", as_bytes("y")));
  EXPECT_EQ(sweep_uploads(url), 0);
  EXPECT_TRUE(open_remover(url)->remove("x"));
  EXPECT_FALSE(store->info("x"));
}

}  // namespace
}  // namespace holdfast::store
