#include "store/open_store.h"

#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "store/posix_access.h"
#include "store/posix_store.h"

namespace holdfast::store {
namespace {

[[noreturn]] void throw_url(const std::string& url, std::string detail) {
  throw Error({.code = ErrorCode::kConfiguration,
               .message = fmt::format("invalid repository \"{}\"", url),
               .detail = std::move(detail),
               .hint = "Name a directory, as in /var/lib/holdfast or file:///var/lib/holdfast."});
}

// The directory that the URL names.
std::string posix_path(const std::string& url) {
  if (url.empty()) throw_url(url, "No repository is named.");
  size_t colon = url.find("://");
  bool has_scheme =
      colon != std::string::npos && url.substr(0, colon).find('/') == std::string::npos;
  if (!has_scheme) return absolute_path(url);

  std::string scheme = url.substr(0, colon);
  if (scheme != "file")
    throw_url(url, fmt::format("This program has no engine for \"{}://\".", scheme));
  std::string path = url.substr(colon + 3);
  if (!path.starts_with('/')) throw_url(url, "After file:// comes an absolute path.");
  return absolute_path(path);
}

}  // namespace

std::unique_ptr<Store> open_store(const std::string& url) {
  return open_posix_store(posix_path(url));
}
std::unique_ptr<Remover> open_remover(const std::string& url) {
  return open_posix_remover(posix_path(url));
}
void create_store(const std::string& url, const std::optional<OwnerIds>& owner) {
  create_posix_root(posix_path(url), owner);
}
AccessReport look_at_access(const std::string& url, std::chrono::milliseconds patience) {
  return look_at_posix_access(posix_path(url), patience);
}
int sweep_uploads(const std::string& url) { return sweep_posix_uploads(posix_path(url)); }

}  // namespace holdfast::store
