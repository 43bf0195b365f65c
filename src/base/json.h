// json.h: a small facade over the JSON library, which stands in json.cc alone.
//
// An ordered value: objects keep the order in which members were set, so output is stable. Integers
// are kept exact to 64 bits (signed and unsigned); LSNs and ids are text. Reading is strict: a
// missing member or a wrong type throws kCorrupt naming the path.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace holdfast {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;

  Json() = default;  // null
  Json(bool v) : value_(v) {}
  Json(int v) : value_(int64_t{v}) {}
  Json(int64_t v) : value_(v) {}
  Json(uint64_t v) : value_(v) {}
  Json(uint32_t v) : value_(uint64_t{v}) {}
  Json(double v) : value_(v) {}
  Json(const char* v) : value_(std::string(v)) {}
  Json(std::string v) : value_(std::move(v)) {}
  Json(std::string_view v) : value_(std::string(v)) {}
  Json(Array v) : value_(std::move(v)) {}
  Json(Object v) : value_(std::move(v)) {}
  template <typename T>
  Json(const std::optional<T>& v) {
    if (v) *this = Json(*v);
  }
  static Json object() { return Json(Object{}); }
  static Json array() { return Json(Array{}); }

  // Throws kCorrupt: `what` names the document. Strict: a member that stands twice, an integer of
  // more than 64 bits and a depth beyond 64 are refused.
  static Json parse(std::string_view text, std::string_view what);
  // UTF-8; bytes that are not are replaced in output by U+FFFD. indent 0: one line.
  std::string dump(int indent = 2) const;

  // Objects: appends or replaces a member; chains. A null value becomes an object (or an array, for
  // push).
  Json& set(std::string_view key, Json value);
  // Arrays.
  Json& push(Json value);

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  const Json* find(std::string_view key) const;  // nullptr when absent or not an object
  const Json& at(std::string_view key) const;    // throws kCorrupt
  const Array& items() const;                    // throws kCorrupt
  const Object& members() const;
  const std::string& as_string() const;
  int64_t as_i64() const;
  uint64_t as_u64() const;
  double as_double() const;
  bool as_bool() const;

 private:
  friend class JsonBuilder;
  friend class JsonWriter;
  std::string name() const;
  [[noreturn]] void fail(std::string_view wanted) const;

  // Where it was read, for errors: "commit object: wal.start". Empty for values made here.
  std::string path_ = {};
  std::variant<std::monostate, bool, int64_t, uint64_t, double, std::string, Array, Object> value_;
};

}  // namespace holdfast
