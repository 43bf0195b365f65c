#include "view/expire.h"

#include <gtest/gtest.h>

namespace holdfast::view {
namespace {

TEST(ViewDeletion, NamesTheCommandsThatTakeItBack) {
  expire::Deletion deletion;
  for (const char* id :
       {"20261126T072738Z-451240", "20261126T072738Z-451241", "20261126T072738Z-451242"})
    deletion.backups.push_back({.lineage = {}, .id = id, .backup = {}});
  deletion.backups[1].is_final = true;
  const std::string words = text(deletion, true);
  for (const auto& [id, is_there] :
       {std::pair("451240", true), std::pair("451241", false), std::pair("451242", true)})
    EXPECT_EQ(words.find(std::string("\"holdfast backup undelete 20261126T072738Z-") + id +
                         "\" takes it back.") != std::string::npos,
              is_there)
        << words;
  EXPECT_EQ(words.find("undelete ID"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::view
