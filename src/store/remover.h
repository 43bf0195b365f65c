// remover.h: the only way to make an object go away. Handed to expire alone; no other room ever
// holds one.
#pragma once

#include <string>

namespace holdfast::store {

class Remover {
 public:
  virtual ~Remover() = default;
  // True when there was one. Durable when it returns.
  virtual bool remove(const std::string& name) = 0;
};

}  // namespace holdfast::store
