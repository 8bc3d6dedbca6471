//===- Error.h - errors as values -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every fallible function of convjit returns a Status or an Expected<T>. No
// exception crosses a public function, and nothing here ends the process.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_ERROR_H
#define CONVJIT_ERROR_H

#include <cassert>
#include <string>
#include <utility>
#include <variant>

namespace convjit {

/// Who can mend it. The value is the exit code of the command line.
enum class ErrorKind {
  CheckFailed = 1, ///< a comparison with the reference did not hold
  BadInput = 2,    ///< the caller: names field, value and what is valid
  Environment = 3, ///< the machine: no memory, no such file, no such device
  Internal = 70,   ///< convjit itself: a bug, with what is needed to report it
};

/// One error: a kind and a single line of text, without a final full stop or
/// newline.
struct Error {
  ErrorKind kind = ErrorKind::Internal;
  std::string message;
};

inline Error badInput(std::string message) {
  return {ErrorKind::BadInput, std::move(message)};
}
inline Error environmentError(std::string message) {
  return {ErrorKind::Environment, std::move(message)};
}
inline Error internalError(std::string message) {
  return {ErrorKind::Internal, std::move(message)};
}

/// A value or the error that took its place.
///
///     Expected<Problem> p = parseProblem(text);
///     if (!p)
///       return p.takeError();
///     use(*p);
template <typename T> class [[nodiscard]] Expected {
public:
  Expected(T value) : storage(std::in_place_index<0>, std::move(value)) {}
  Expected(Error error) : storage(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return storage.index() == 0; }
  T &operator*() { return std::get<0>(storage); }
  const T &operator*() const { return std::get<0>(storage); }
  T *operator->() { return &std::get<0>(storage); }
  const T *operator->() const { return &std::get<0>(storage); }
  const Error &error() const { return std::get<1>(storage); }
  Error takeError() { return std::move(std::get<1>(storage)); }

private:
  std::variant<T, Error> storage;
};

/// Success, or an error.
class [[nodiscard]] Status {
public:
  Status() = default;
  Status(Error error) : failure(std::move(error)), failed(true) {}

  /// True on success, as for Expected.
  explicit operator bool() const { return !failed; }
  const Error &error() const {
    assert(failed && "no error in a successful status");
    return failure;
  }
  Error takeError() { return std::move(failure); }

private:
  Error failure;
  bool failed = false;
};

} // namespace convjit

#endif // CONVJIT_ERROR_H
