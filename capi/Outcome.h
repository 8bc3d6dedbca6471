//===- Outcome.h - results inside the C interface -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CAPI_OUTCOME_H
#define CONVJIT_CAPI_OUTCOME_H

#include "convjit/Error.h"
#include "convjit/convjit.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

namespace convjit::capi {

/// A status of the C interface and its text: success, or an error.
struct Outcome {
  convjit_status status = CONVJIT_OK;
  std::string message;

  Outcome() = default;
  Outcome(convjit_status status, std::string message)
      : status(status), message(std::move(message)) {}
  Outcome(const Error &error);
  Outcome(Status result);
  explicit operator bool() const { return status == CONVJIT_OK; }
};

inline Outcome invalid(std::string message) {
  return {CONVJIT_STATUS_INVALID_ARGUMENT, std::move(message)};
}
inline Outcome outOfMemory() { return {CONVJIT_STATUS_OUT_OF_MEMORY, ""}; }

/// Stores what went wrong where the caller wants it; returns the status.
convjit_status report(const Outcome &outcome, convjit_error **error) noexcept;

/// The body of a C function: its Outcome, and what it throws, as a status.
template <typename Body>
convjit_status guarded(convjit_error **error, Body body) noexcept {
  if (error)
    *error = nullptr;
  try {
    Outcome outcome = body();
    return outcome ? CONVJIT_OK : report(outcome, error);
  } catch (const std::bad_alloc &) {
    return report(outOfMemory(), error);
  } catch (const std::length_error &) {
    return report(outOfMemory(), error);
  } catch (...) {
    // A text that std::string holds without an allocation of its own.
    return report({CONVJIT_STATUS_INTERNAL, "exception"}, error);
  }
}

/// A caller's struct as this library knows it. `name` is the argument's.
template <typename T>
Outcome readStruct(const T *from, T &to, const char *name) {
  // Grows from here on: what version 0.1 had is there in any caller's struct.
  constexpr size_t firstSize = sizeof(T);
  // Far beyond any struct; what is meant to be one is not then.
  constexpr size_t largest = 1 << 16;
  if (!from)
    return invalid(std::string(name) + "=NULL: valid: a pointer to a struct");
  size_t size = from->struct_size;
  if (size < firstSize || size > largest)
    return invalid(std::string(name) + ".struct_size=" + std::to_string(size) +
                   ": valid: the sizeof of the struct, " +
                   std::to_string(sizeof(T)) + " in this version");
  const auto *bytes = reinterpret_cast<const unsigned char *>(from);
  for (size_t i = sizeof(T); i < size; ++i)
    if (bytes[i] != 0)
      return invalid(std::string(name) +
                     ".struct_size=" + std::to_string(size) +
                     ": has fields that this version does not know and that "
                     "are not zero; valid: " +
                     std::to_string(sizeof(T)) + ", or zeros there");
  std::memcpy(&to, from, sizeof(T) < size ? sizeof(T) : size);
  return {};
}

/// Fills in what the caller's `info` has room for.
template <typename T> Outcome fillIn(T *to, T made) {
  size_t size = to->struct_size;
  if (size < sizeof(size_t))
    return invalid("info.struct_size=" + std::to_string(size) +
                   ": valid: the sizeof of the struct, " +
                   std::to_string(sizeof(T)));
  made.struct_size = size;
  std::memcpy(static_cast<void *>(to), &made, std::min(size, sizeof made));
  return {};
}

/// "name=NULL".
inline Outcome missing(const char *name, const char *valid) {
  return invalid(std::string(name) + "=NULL: valid: " + valid);
}

} // namespace convjit::capi

#endif // CONVJIT_CAPI_OUTCOME_H
