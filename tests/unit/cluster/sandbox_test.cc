#include "cluster/sandbox.h"

#include <gtest/gtest.h>

#include "support/error_of.h"

namespace holdfast::cluster {
namespace {

using Words = std::vector<std::string>;

TEST(SandboxCommand, CoversADirectoryBeforeWhatLiesBelowIt) {
  const Sandbox sandbox{.program = "/bin/holdfast",
                        .covers = {{.path = "/srv/ts/inner", .by = "/copy/1"}, {.path = "/srv/ts"}},
                        .private_network = true};
  const Words command = {"postgres", "-D", "/copy"};
  EXPECT_EQ(
      in_sandbox(sandbox, command),
      (Words{"/bin/holdfast", "run-in-sandbox", "--cover", "/srv/ts", "", "--cover",
             "/srv/ts/inner", "/copy/1", "--private-network", "--", "postgres", "-D", "/copy"}));
}

TEST(SandboxCommand, IsRefusedBeforeAnythingIsMadeWhenAPersonTypesIt) {
  for (const Words& words : {Words{}, Words{"--"}, Words{"--cover", "/x"},
                             Words{"--private-network"}, Words{"--help", "--", "true"}})
    EXPECT_EQ(test::error_of([&] { enter_sandbox(words); }).code(), ErrorCode::kUsage);
}

TEST(WhyNoSandbox, SaysWhatAProgramThatCannotMakeOneSaid) {
  EXPECT_EQ(why_no_sandbox({.program = "/bin/false"}), "exited with status 1");
  EXPECT_EQ(why_no_sandbox({.program = "/bin/true"}), std::nullopt);
}

}  // namespace
}  // namespace holdfast::cluster
