// Map leaves and roots. What is accepted is written again as the same value.
#include "base/error.h"
#include "repo/file_map.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input = std::as_bytes(std::span(data, size));
  for (uint32_t leaf_blocks : {2048u, 512u, 16384u}) {
    try {
      const repo::MapLeaf leaf = repo::decode_map_leaf(input, leaf_blocks);
      HF_CHECK(repo::decode_map_leaf(encode(leaf), leaf_blocks) == leaf);
    } catch (const Error&) {
    }
  }
  try {
    const std::vector<repo::MapRootEntry> root = repo::decode_map_root(input);
    HF_CHECK(repo::decode_map_root(encode(root)) == root);
  } catch (const Error&) {
  }
  return 0;
}
