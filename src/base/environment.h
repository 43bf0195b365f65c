// environment.h: this process's environment, and a way to keep a part of it from a library.
//
// Nobody here changes a variable. A library that reads the environment by itself (libpq) is called
// while a part of it is hidden: `environ` leads to a shorter list of the same variables meanwhile.
// So what getenv() has found stays valid, in every thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"

namespace holdfast {

// "NAME=value" of each variable.
std::vector<std::string> environment();

// While it lives getenv() finds no variable whose name begins with `prefix`; with an empty prefix
// it finds all, and nobody hides any. One lives at a time: the next waits.
class EnvironmentWithout {
 public:
  explicit EnvironmentWithout(std::string_view prefix);
  ~EnvironmentWithout();
  EnvironmentWithout(const EnvironmentWithout&) = delete;
  EnvironmentWithout& operator=(const EnvironmentWithout&) = delete;

 private:
  MutexLock lock_;
  char** whole_;
};

}  // namespace holdfast
