// libpq.h: libpq's functions, from the library that the first call loads.
//
// With what it brings along (Kerberos, LDAP, GnuTLS) that library costs a process half of its
// start, and most processes, those of archive_command and restore_command, talk to no server.
#pragma once

#include <libpq-fe.h>

namespace holdfast::cluster {

struct Libpq {
  decltype(::PQbackendPID)* PQbackendPID;
  decltype(::PQcancel)* PQcancel;
  decltype(::PQclear)* PQclear;
  decltype(::PQconnectPoll)* PQconnectPoll;
  decltype(::PQconnectStartParams)* PQconnectStartParams;
  decltype(::PQconninfoFree)* PQconninfoFree;
  decltype(::PQconninfoParse)* PQconninfoParse;
  decltype(::PQconsumeInput)* PQconsumeInput;
  decltype(::PQerrorMessage)* PQerrorMessage;
  decltype(::PQfinish)* PQfinish;
  decltype(::PQflush)* PQflush;
  decltype(::PQfreeCancel)* PQfreeCancel;
  decltype(::PQfreemem)* PQfreemem;
  decltype(::PQgetCancel)* PQgetCancel;
  decltype(::PQgetisnull)* PQgetisnull;
  decltype(::PQgetlength)* PQgetlength;
  decltype(::PQgetResult)* PQgetResult;
  decltype(::PQgetvalue)* PQgetvalue;
  decltype(::PQhost)* PQhost;
  decltype(::PQisBusy)* PQisBusy;
  decltype(::PQnfields)* PQnfields;
  decltype(::PQntuples)* PQntuples;
  decltype(::PQport)* PQport;
  decltype(::PQresultErrorField)* PQresultErrorField;
  decltype(::PQresultStatus)* PQresultStatus;
  decltype(::PQsendQueryParams)* PQsendQueryParams;
  decltype(::PQserverVersion)* PQserverVersion;
  decltype(::PQsetNoticeReceiver)* PQsetNoticeReceiver;
  decltype(::PQsocket)* PQsocket;
  decltype(::PQstatus)* PQstatus;
};

// All of them. Throws kUnsupported when the library is not to be had, or is none.
const Libpq& libpq();

}  // namespace holdfast::cluster
