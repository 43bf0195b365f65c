#include "cluster/libpq.h"

#include <dlfcn.h>

#include <fmt/format.h>

#include "base/error.h"

namespace holdfast::cluster {
namespace {

// The same since PostgreSQL 8.0.
constexpr const char* kLibrary = "libpq.so.5";

void* load() {
  // Never closed: libraries below it leave functions behind that run at the process's end.
  void* const library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library != nullptr) return library;
  throw Error({.code = ErrorCode::kUnsupported,
               .message = fmt::format("could not load \"{}\"", kLibrary),
               .detail = dlerror(),
               .hint = "PostgreSQL's client library is needed to talk to a server; on Debian it "
                       "is in the package libpq5."});
}

// Finds each function as what it is assigned to.
class Function {
 public:
  Function(void* library, const char* name) : found_(dlsym(library, name)) {
    if (found_ == nullptr)
      throw Error({.code = ErrorCode::kUnsupported,
                   .message = fmt::format("\"{}\" has no function {}", kLibrary, name),
                   .hint = "It is not PostgreSQL's, or is damaged."});
  }
  template <typename Type>
  operator Type*() const {
    return reinterpret_cast<Type*>(found_);
  }

 private:
  void* found_;
};

Libpq find_all() {
  void* const library = load();
  return {
      .PQbackendPID = Function(library, "PQbackendPID"),
      .PQcancel = Function(library, "PQcancel"),
      .PQclear = Function(library, "PQclear"),
      .PQconnectPoll = Function(library, "PQconnectPoll"),
      .PQconnectStartParams = Function(library, "PQconnectStartParams"),
      .PQconninfoFree = Function(library, "PQconninfoFree"),
      .PQconninfoParse = Function(library, "PQconninfoParse"),
      .PQconsumeInput = Function(library, "PQconsumeInput"),
      .PQerrorMessage = Function(library, "PQerrorMessage"),
      .PQfinish = Function(library, "PQfinish"),
      .PQflush = Function(library, "PQflush"),
      .PQfreeCancel = Function(library, "PQfreeCancel"),
      .PQfreemem = Function(library, "PQfreemem"),
      .PQgetCancel = Function(library, "PQgetCancel"),
      .PQgetisnull = Function(library, "PQgetisnull"),
      .PQgetlength = Function(library, "PQgetlength"),
      .PQgetResult = Function(library, "PQgetResult"),
      .PQgetvalue = Function(library, "PQgetvalue"),
      .PQhost = Function(library, "PQhost"),
      .PQisBusy = Function(library, "PQisBusy"),
      .PQnfields = Function(library, "PQnfields"),
      .PQntuples = Function(library, "PQntuples"),
      .PQport = Function(library, "PQport"),
      .PQresultErrorField = Function(library, "PQresultErrorField"),
      .PQresultStatus = Function(library, "PQresultStatus"),
      .PQsendQueryParams = Function(library, "PQsendQueryParams"),
      .PQserverVersion = Function(library, "PQserverVersion"),
      .PQsetNoticeReceiver = Function(library, "PQsetNoticeReceiver"),
      .PQsocket = Function(library, "PQsocket"),
      .PQstatus = Function(library, "PQstatus"),
  };
}

}  // namespace

const Libpq& libpq() {
  static const Libpq found = find_all();
  return found;
}

}  // namespace holdfast::cluster
