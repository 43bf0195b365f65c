#include "base/reporter.h"

namespace holdfast {
namespace {

class SilentReporter : public Reporter {
 public:
  void phase(std::string_view, uint64_t) override {}
  void amount(uint64_t) override {}
  void note(std::string_view) override {}
  void warning(std::string_view) override {}
};

}  // namespace

Reporter& silent_reporter() {
  static SilentReporter reporter;
  return reporter;
}

}  // namespace holdfast
