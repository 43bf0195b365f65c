#include "cluster/configuration_tree.h"

#include <algorithm>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <set>
#include <sys/stat.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "pg/auth_file.h"
#include "pg/conf_file.h"

namespace holdfast::cluster {
namespace {

// Files include files; the server ends at this depth too (CONF_FILE_MAX_DEPTH).
constexpr int kMaxDepth = 10;
// A configuration file beyond this is none.
constexpr size_t kMaxBytes = size_t{16} << 20;

std::string beside(const std::string& path, const std::string& name) {
  return absolute_path(name.starts_with('/') ? name : join_path(parent_path(path), name));
}

// What a line of settings names, if it is an include.
std::optional<ConfigurationReference> reference_of(const pg::ConfLine& line,
                                                   const std::string& path) {
  switch (line.kind) {
    case pg::ConfLineKind::kInclude:
    case pg::ConfLineKind::kIncludeIfExists:
    case pg::ConfLineKind::kIncludeDirectory:
      return ConfigurationReference{
          .name = line.value,
          .path = beside(path, line.value),
          .is_directory = line.kind == pg::ConfLineKind::kIncludeDirectory,
          .may_be_absent = line.kind == pg::ConfLineKind::kIncludeIfExists};
    default:
      return std::nullopt;
  }
}

ConfigurationReference reference_of(const pg::AuthReference& reference, const std::string& path) {
  return {.name = reference.path,
          .path = beside(path, reference.path),
          .is_directory = reference.kind == pg::AuthReferenceKind::kIncludeDirectory,
          .may_be_absent = reference.kind == pg::AuthReferenceKind::kIncludeIfExists};
}

std::string include_word(pg::ConfLineKind kind) {
  return kind == pg::ConfLineKind::kInclude            ? "include"
         : kind == pg::ConfLineKind::kIncludeDirectory ? "include_dir"
                                                       : "include_if_exists";
}

// A file that is named by a line of `kind`, or an @ in it.
ConfigurationKind kind_of(const pg::AuthReference& reference, ConfigurationKind kind) {
  return reference.kind == pg::AuthReferenceKind::kList ? ConfigurationKind::kList : kind;
}

class TreeReader {
 public:
  explicit TreeReader(const ConfigurationReader& reader) : reader_(reader) {}
  void take(const std::string& path, ConfigurationKind kind, bool may_be_absent, int depth);
  ConfigurationTree done() { return std::move(tree_); }

 private:
  void follow(const ConfigurationReference& reference, ConfigurationKind kind, int depth);

  const ConfigurationReader& reader_;
  std::set<std::string> seen_;
  ConfigurationTree tree_;
};

void TreeReader::follow(const ConfigurationReference& reference, ConfigurationKind kind,
                        int depth) {
  if (!reference.is_directory) return take(reference.path, kind, reference.may_be_absent, depth);
  std::optional<std::vector<std::string>> names = reader_.names(reference.path);
  if (!names) {
    tree_.missing.push_back(reference.path);
    return;
  }
  if (std::ranges::find(tree_.directories, reference.path) == tree_.directories.end())
    tree_.directories.push_back(reference.path);
  std::ranges::sort(*names);
  for (const std::string& name : *names)
    if (name.ends_with(".conf") && !name.starts_with('.'))
      take(join_path(reference.path, name), kind, false, depth);
}

void TreeReader::take(const std::string& path, ConfigurationKind kind, bool may_be_absent,
                      int depth) {
  if (depth > kMaxDepth || !seen_.insert(path).second) return;
  std::optional<std::string> text = reader_.text(path);
  if (!text) {
    if (!may_be_absent) tree_.missing.push_back(path);
    return;
  }
  tree_.files.push_back({.path = path, .kind = kind, .text = *text});
  if (kind == ConfigurationKind::kSettings) {
    const pg::ConfFile file(*text);
    for (const pg::ConfLine& line : file.lines()) {
      if (line.kind == pg::ConfLineKind::kInvalid &&
          (tree_.invalid.empty() || tree_.invalid.back() != path))
        tree_.invalid.push_back(path);
      if (const std::optional<ConfigurationReference> reference = reference_of(line, path))
        follow(*reference, kind, depth + 1);
    }
    return;
  }
  for (const pg::AuthReference& reference :
       pg::auth_references(*text, kind == ConfigurationKind::kList))
    follow(reference_of(reference, path), kind_of(reference, kind), depth + 1);
}

std::optional<std::string> read_host_file(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status{};
  if (!fd.is_open() || fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      static_cast<uint64_t>(status.st_size) > kMaxBytes)
    return std::nullopt;
  Bytes bytes(static_cast<size_t>(status.st_size));
  bytes.resize(read_some(fd, bytes, path));
  return std::string(as_text(bytes));
}

std::optional<std::vector<std::string>> read_host_names(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (!directory) return std::nullopt;
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory.get())) names.emplace_back(entry->d_name);
  return names;
}

}  // namespace

std::vector<ConfigurationReference> configuration_references(std::string_view text,
                                                             ConfigurationKind kind,
                                                             const std::string& path) {
  std::vector<ConfigurationReference> references;
  if (kind == ConfigurationKind::kSettings) {
    const pg::ConfFile file(text);
    for (const pg::ConfLine& line : file.lines())
      if (std::optional<ConfigurationReference> reference = reference_of(line, path))
        references.push_back(*std::move(reference));
    return references;
  }
  for (const pg::AuthReference& reference :
       pg::auth_references(text, kind == ConfigurationKind::kList))
    references.push_back(reference_of(reference, path));
  return references;
}

std::string rename_configuration_references(
    std::string_view text, ConfigurationKind kind, const std::string& path,
    const std::function<std::optional<std::string>(const ConfigurationReference&)>& rename) {
  std::string renamed;
  if (kind == ConfigurationKind::kSettings) {
    const pg::ConfFile file(text);
    for (const pg::ConfLine& line : file.lines()) {
      const std::optional<ConfigurationReference> reference = reference_of(line, path);
      const std::optional<std::string> name = reference ? rename(*reference) : std::nullopt;
      renamed += name ? fmt::format("{} {}\n", include_word(line.kind), pg::quote_conf_value(*name))
                      : line.text;
    }
    return renamed;
  }
  size_t done = 0;
  for (const pg::AuthReference& reference :
       pg::auth_references(text, kind == ConfigurationKind::kList)) {
    const std::optional<std::string> name = rename(reference_of(reference, path));
    if (!name) continue;
    renamed += text.substr(done, reference.offset - done);
    renamed += pg::auth_reference_text(reference.kind, *name);
    done = reference.offset + reference.size;
  }
  renamed += text.substr(done);
  return renamed;
}

ConfigurationReader host_configuration() {
  return {.text = read_host_file, .names = read_host_names};
}

ConfigurationTree read_configuration_tree(const ConfigurationRoles& roles,
                                          const std::string& data_directory,
                                          const ConfigurationReader& reader) {
  TreeReader tree(reader);
  tree.take(roles.config_file, ConfigurationKind::kSettings, false, 0);
  tree.take(join_path(data_directory, "postgresql.auto.conf"), ConfigurationKind::kSettings, true,
            0);
  tree.take(roles.hba_file, ConfigurationKind::kRules, false, 0);
  // Without an ident_file a server starts, and says so (hba.c, load_ident).
  tree.take(roles.ident_file, ConfigurationKind::kRules, true, 0);
  return tree.done();
}

}  // namespace holdfast::cluster
