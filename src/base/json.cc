#include "base/json.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/error.h"

namespace holdfast {
namespace {

using Library = nlohmann::json;

constexpr size_t kMaxDepth = 64;

std::string child_path(const std::string& parent, bool top, std::string_view key) {
  return fmt::format("{}{}{}", parent, top ? ": " : ".", key);
}

}  // namespace

// Receives the library's parsing events (its parser keeps its own stack, so depth costs no
// recursion there) and builds the value.
class JsonBuilder {
 public:
  explicit JsonBuilder(std::string_view what) : what_(what) {}

  bool null() { return add(Json()); }
  bool boolean(bool v) { return add(Json(v)); }
  bool number_integer(int64_t v) { return add(Json(v)); }
  bool number_unsigned(uint64_t v) { return add(Json(v)); }
  bool number_float(double v, const std::string& text) {
    // The library falls back to a double for an integer of more than 64 bits; we do not round.
    if (text.find_first_of(".eE") == std::string::npos)
      return refuse(fmt::format("The integer {} has more than 64 bits.", text));
    return add(Json(v));
  }
  bool string(std::string& v) { return add(Json(std::move(v))); }
  bool binary(Library::binary_t&) { return refuse("Binary values are not JSON."); }
  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    Frame& frame = frames_.back();
    if (!frame.keys.insert(name).second)
      return refuse(fmt::format("The member \"{}\" stands twice in {}.", name, frame.value.path_));
    frame.key = std::move(name);
    return true;
  }
  // `position`: bytes read when the fault was seen.
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    fault_position_ = position;
    return false;
  }

  Json take() { return std::move(root_); }
  const std::string& problem() const { return problem_; }
  size_t fault_position() const { return fault_position_; }

 private:
  struct Frame {
    Json value;
    std::set<std::string> keys;  // seen in this object
    std::string key;             // of the member that comes next
  };

  std::string next_path() const {
    if (frames_.empty()) return what_;
    const Frame& frame = frames_.back();
    if (frame.value.is_array())
      return fmt::format("{}[{}]", frame.value.path_, frame.value.items().size());
    return child_path(frame.value.path_, frames_.size() == 1, frame.key);
  }

  bool add(Json value) {
    if (value.path_.empty()) value.path_ = next_path();
    if (frames_.empty()) {
      root_ = std::move(value);
    } else if (Frame& frame = frames_.back(); frame.value.is_array()) {
      std::get<Json::Array>(frame.value.value_).push_back(std::move(value));
    } else {
      std::get<Json::Object>(frame.value.value_)
          .emplace_back(std::move(frame.key), std::move(value));
    }
    return true;
  }

  bool open(Json value) {
    if (frames_.size() == kMaxDepth)
      return refuse(fmt::format("It is nested deeper than {} levels.", kMaxDepth));
    value.path_ = next_path();
    frames_.push_back({.value = std::move(value), .keys = {}, .key = {}});
    return true;
  }

  bool close() {
    Json value = std::move(frames_.back().value);
    frames_.pop_back();
    return add(std::move(value));
  }

  bool refuse(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  std::string what_;
  std::vector<Frame> frames_;
  Json root_;
  std::string problem_;
  size_t fault_position_ = 0;
};

// Writes a value as text; scalars are the library's, which escapes and replaces bytes that are not
// UTF-8.
class JsonWriter {
 public:
  explicit JsonWriter(int indent) : indent_(indent) {}

  void write(const Json& json, int depth) {
    if (const auto* array = std::get_if<Json::Array>(&json.value_)) {
      write_all('[', ']', *array, depth, [&](const Json& item) { write(item, depth + 1); });
    } else if (const auto* object = std::get_if<Json::Object>(&json.value_)) {
      write_all('{', '}', *object, depth, [&](const std::pair<std::string, Json>& member) {
        text_ += scalar(member.first);
        text_ += indent_ > 0 ? ": " : ":";
        write(member.second, depth + 1);
      });
    } else if (const auto* text = std::get_if<std::string>(&json.value_)) {
      text_ += scalar(*text);
    } else if (const auto* number = std::get_if<double>(&json.value_)) {
      text_ += scalar(*number);  // "null" for what is not a number: JSON has no other word for it
    } else if (const auto* integer = std::get_if<int64_t>(&json.value_)) {
      text_ += scalar(*integer);
    } else if (const auto* natural = std::get_if<uint64_t>(&json.value_)) {
      text_ += scalar(*natural);
    } else if (const auto* boolean = std::get_if<bool>(&json.value_)) {
      text_ += *boolean ? "true" : "false";
    } else {
      text_ += "null";
    }
  }
  std::string take() { return std::move(text_); }

 private:
  template <typename T>
  static std::string scalar(const T& value) {
    return Library(value).dump(-1, ' ', false, Library::error_handler_t::replace);
  }

  template <typename Values, typename Write>
  void write_all(char open, char close, const Values& values, int depth, Write write_one) {
    text_.push_back(open);
    bool first = true;
    for (const auto& value : values) {
      if (!first) text_.push_back(',');
      first = false;
      break_line(depth + 1);
      write_one(value);
    }
    if (!first) break_line(depth);
    text_.push_back(close);
  }

  void break_line(int depth) {
    if (indent_ <= 0) return;
    text_.push_back('\n');
    text_.append(static_cast<size_t>(indent_) * static_cast<size_t>(depth), ' ');
  }

  int indent_;
  std::string text_;
};

Json Json::parse(std::string_view text, std::string_view what) {
  JsonBuilder builder(what);
  if (Library::sax_parse(text.begin(), text.end(), &builder)) return builder.take();

  std::string detail = builder.problem();
  if (detail.empty()) {
    // The byte at fault is the last one read.
    const std::string_view before =
        text.substr(0, std::max<size_t>(std::min(builder.fault_position(), text.size()), 1) - 1);
    const auto line = std::ranges::count(before, '\n') + 1;
    const size_t column = before.size() - (before.rfind('\n') + 1) + 1;
    detail = fmt::format("It is not JSON: syntax error at line {}, column {}.", line, column);
  }
  throw Error({.code = ErrorCode::kCorrupt,
               .message = fmt::format("malformed {}", what),
               .detail = std::move(detail)});
}

std::string Json::dump(int indent) const {
  JsonWriter writer(indent);
  writer.write(*this, 0);
  return writer.take();
}

Json& Json::set(std::string_view key, Json value) {
  if (is_null()) value_ = Object{};
  HF_CHECK(is_object());
  auto& object = std::get<Object>(value_);
  const auto found = std::ranges::find(object, key, &std::pair<std::string, Json>::first);
  if (found != object.end())
    found->second = std::move(value);
  else
    object.emplace_back(std::string(key), std::move(value));
  return *this;
}

Json& Json::push(Json value) {
  if (is_null()) value_ = Array{};
  HF_CHECK(is_array());
  std::get<Array>(value_).push_back(std::move(value));
  return *this;
}

const Json* Json::find(std::string_view key) const {
  const auto* object = std::get_if<Object>(&value_);
  if (object == nullptr) return nullptr;
  const auto found = std::ranges::find(*object, key, &std::pair<std::string, Json>::first);
  return found == object->end() ? nullptr : &found->second;
}

const Json& Json::at(std::string_view key) const {
  members();  // refuses what is not an object
  const Json* found = find(key);
  if (found == nullptr)
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = fmt::format("missing member \"{}\" in {}", key, name())});
  return *found;
}

const Json::Array& Json::items() const {
  if (const auto* value = std::get_if<Array>(&value_)) return *value;
  fail("an array");
}

const Json::Object& Json::members() const {
  if (const auto* value = std::get_if<Object>(&value_)) return *value;
  fail("an object");
}

const std::string& Json::as_string() const {
  if (const auto* value = std::get_if<std::string>(&value_)) return *value;
  fail("a string");
}

int64_t Json::as_i64() const {
  if (const auto* value = std::get_if<int64_t>(&value_)) return *value;
  if (const auto* value = std::get_if<uint64_t>(&value_))
    if (std::in_range<int64_t>(*value)) return static_cast<int64_t>(*value);
  fail("a signed integer of 64 bits");
}

uint64_t Json::as_u64() const {
  if (const auto* value = std::get_if<uint64_t>(&value_)) return *value;
  if (const auto* value = std::get_if<int64_t>(&value_))
    if (*value >= 0) return static_cast<uint64_t>(*value);
  fail("an unsigned integer of 64 bits");
}

double Json::as_double() const {
  if (const auto* value = std::get_if<double>(&value_)) return *value;
  if (const auto* value = std::get_if<int64_t>(&value_)) return static_cast<double>(*value);
  if (const auto* value = std::get_if<uint64_t>(&value_)) return static_cast<double>(*value);
  fail("a number");
}

bool Json::as_bool() const {
  if (const auto* value = std::get_if<bool>(&value_)) return *value;
  fail("true or false");
}

std::string Json::name() const { return path_.empty() ? "a JSON value" : path_; }

void Json::fail(std::string_view wanted) const {
  // In the order of the variant's alternatives.
  constexpr std::string_view kFound[] = {"null",     "true or false", "an integer", "an integer",
                                         "a number", "a string",      "an array",   "an object"};
  std::string found(kFound[value_.index()]);
  if (const auto* value = std::get_if<int64_t>(&value_))
    found = fmt::format("the integer {}", *value);
  if (const auto* value = std::get_if<uint64_t>(&value_))
    found = fmt::format("the integer {}", *value);
  throw Error({.code = ErrorCode::kCorrupt,
               .message = fmt::format("unexpected value of {}", name()),
               .detail = fmt::format("It should be {} and is {}.", wanted, found)});
}

}  // namespace holdfast
