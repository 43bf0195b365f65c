// libpq.h: libpq's functions, from the library that the first call loads.
//
// With what it brings along (Kerberos, LDAP, GnuTLS) that library costs a process half of its
// start, and most processes, those of archive_command and restore_command, talk to no server.
#pragma once

#include <libpq-fe.h>

namespace holdfast::cluster {

// Each is called as PostgreSQL documents it under its name with PQ before.
struct Libpq {
  decltype(::PQbackendPID)* backend_pid;
  decltype(::PQcancel)* cancel;
  decltype(::PQclear)* clear;
  decltype(::PQconnectPoll)* connect_poll;
  decltype(::PQconnectStartParams)* connect_start_params;
  decltype(::PQconninfo)* conninfo;
  decltype(::PQconninfoFree)* conninfo_free;
  decltype(::PQconninfoParse)* conninfo_parse;
  decltype(::PQconsumeInput)* consume_input;
  decltype(::PQerrorMessage)* error_message;
  decltype(::PQfinish)* finish;
  decltype(::PQflush)* flush;
  decltype(::PQfreeCancel)* free_cancel;
  decltype(::PQfreemem)* freemem;
  decltype(::PQgetCancel)* get_cancel;
  decltype(::PQgetisnull)* getisnull;
  decltype(::PQgetlength)* getlength;
  decltype(::PQgetResult)* get_result;
  decltype(::PQgetvalue)* getvalue;
  decltype(::PQhost)* host;
  decltype(::PQisBusy)* is_busy;
  decltype(::PQnfields)* nfields;
  decltype(::PQntuples)* ntuples;
  decltype(::PQport)* port;
  decltype(::PQresultErrorField)* result_error_field;
  decltype(::PQresultStatus)* result_status;
  decltype(::PQsendQueryParams)* send_query_params;
  decltype(::PQserverVersion)* server_version;
  decltype(::PQsetNoticeReceiver)* set_notice_receiver;
  decltype(::PQsocket)* socket;
  decltype(::PQstatus)* status;
};

// All of them. Throws kUnsupported when the library is not to be had, or is none.
const Libpq& libpq();

}  // namespace holdfast::cluster
