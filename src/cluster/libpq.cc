#include "cluster/libpq.h"

#include <dlfcn.h>

#include <fmt/format.h>

#include "base/error.h"

namespace holdfast::cluster {
namespace {

// The same since PostgreSQL 8.2.
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
      .backend_pid = Function(library, "PQbackendPID"),
      .cancel = Function(library, "PQcancel"),
      .clear = Function(library, "PQclear"),
      .connect_poll = Function(library, "PQconnectPoll"),
      .connect_start_params = Function(library, "PQconnectStartParams"),
      .conninfo = Function(library, "PQconninfo"),
      .conninfo_free = Function(library, "PQconninfoFree"),
      .conninfo_parse = Function(library, "PQconninfoParse"),
      .consume_input = Function(library, "PQconsumeInput"),
      .error_message = Function(library, "PQerrorMessage"),
      .finish = Function(library, "PQfinish"),
      .flush = Function(library, "PQflush"),
      .free_cancel = Function(library, "PQfreeCancel"),
      .freemem = Function(library, "PQfreemem"),
      .get_cancel = Function(library, "PQgetCancel"),
      .getisnull = Function(library, "PQgetisnull"),
      .getlength = Function(library, "PQgetlength"),
      .get_result = Function(library, "PQgetResult"),
      .getvalue = Function(library, "PQgetvalue"),
      .host = Function(library, "PQhost"),
      .is_busy = Function(library, "PQisBusy"),
      .nfields = Function(library, "PQnfields"),
      .ntuples = Function(library, "PQntuples"),
      .port = Function(library, "PQport"),
      .result_error_field = Function(library, "PQresultErrorField"),
      .result_status = Function(library, "PQresultStatus"),
      .send_query_params = Function(library, "PQsendQueryParams"),
      .server_version = Function(library, "PQserverVersion"),
      .set_notice_receiver = Function(library, "PQsetNoticeReceiver"),
      .socket = Function(library, "PQsocket"),
      .status = Function(library, "PQstatus"),
  };
}

}  // namespace

const Libpq& libpq() {
  static const Libpq found = find_all();
  return found;
}

}  // namespace holdfast::cluster
