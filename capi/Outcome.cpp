//===- Outcome.cpp - status codes and errors of the C interface -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Outcome.h"

using namespace convjit;
using namespace convjit::capi;

struct convjit_error {
  convjit_status status;
  std::string message;
};

/// There when nothing can be allocated any more; never released.
static convjit_error &noMemory() {
  // Short enough for std::string to hold it without an allocation of its own.
  static convjit_error error{CONVJIT_STATUS_OUT_OF_MEMORY, "out of memory"};
  return error;
}

static convjit_status statusOf(const Error &error) {
  switch (error.kind) {
  case ErrorKind::BadInput:
    return CONVJIT_STATUS_INVALID_ARGUMENT;
  case ErrorKind::Environment:
    return error.message.starts_with("not enough memory")
               ? CONVJIT_STATUS_OUT_OF_MEMORY
               : CONVJIT_STATUS_ENVIRONMENT;
  case ErrorKind::CheckFailed:
  case ErrorKind::Internal:
    break;
  }
  return CONVJIT_STATUS_INTERNAL;
}

Outcome::Outcome(const Error &error)
    : status(statusOf(error)), message(error.message) {}
Outcome::Outcome(Status result) {
  if (!result)
    *this = Outcome(result.error());
}

convjit_status capi::report(const Outcome &outcome,
                            convjit_error **error) noexcept {
  if (!error)
    return outcome.status;
  if (outcome.status == CONVJIT_STATUS_OUT_OF_MEMORY &&
      outcome.message.empty()) {
    *error = &noMemory();
    return outcome.status;
  }
  try {
    *error = new convjit_error{outcome.status, outcome.message};
    return outcome.status;
  } catch (...) {
    *error = &noMemory();
    return CONVJIT_STATUS_OUT_OF_MEMORY;
  }
}

const char *convjit_status_name(convjit_status status) {
  switch (status) {
  case CONVJIT_OK:
    return "ok";
  case CONVJIT_STATUS_INVALID_ARGUMENT:
    return "invalid argument";
  case CONVJIT_STATUS_ENVIRONMENT:
    return "environment";
  case CONVJIT_STATUS_OUT_OF_MEMORY:
    return "out of memory";
  case CONVJIT_STATUS_NOT_FOUND:
    return "not found";
  case CONVJIT_STATUS_EXECUTOR:
    return "executor failed";
  case CONVJIT_STATUS_INTERNAL:
    return "internal error";
  default:
    return "unknown status";
  }
}

convjit_status convjit_error_status(const convjit_error *error) {
  return error ? error->status : CONVJIT_OK;
}

const char *convjit_error_message(const convjit_error *error) {
  return error ? error->message.c_str() : "";
}

void convjit_error_release(convjit_error *error) {
  if (error != &noMemory())
    delete error;
}

int32_t convjit_version() { return CONVJIT_VERSION; }

const char *convjit_version_string() { return CONVJIT_VERSION_TEXT; }
