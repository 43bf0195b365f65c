#include "base/random.h"

#include <cerrno>
#include <sys/random.h>

#include "base/error.h"

namespace holdfast {
namespace {

class SystemRandom : public RandomSource {
 public:
  void fill(std::span<std::byte> into) override {
    while (!into.empty()) {
      const ssize_t count = getrandom(into.data(), into.size(), 0);
      if (count < 0) {
        if (errno == EINTR) continue;
        throw_errno("read", "getrandom");
      }
      into = into.subspan(static_cast<size_t>(count));
    }
  }
};

}  // namespace

Bytes16 RandomSource::bytes16() {
  Bytes16 value;
  fill(value.bytes);
  return value;
}

Bytes32 RandomSource::bytes32() {
  Bytes32 value;
  fill(value.bytes);
  return value;
}

RandomSource& system_random() {
  static SystemRandom source;
  return source;
}

}  // namespace holdfast
