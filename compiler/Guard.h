//===- Guard.h - LLVM's ways of ending a process, as errors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// LLVM ends the process when memory runs out or a fatal error is met. Here both
// throw instead, through LLVM's frames, which have unwind tables but no
// clean-up code, and the public functions catch. What LLVM held at that moment
// is lost, and what of ours points into it is leaked on purpose: some megabytes
// for each such error, against the process. A stack that cannot grow, and the
// system's out-of-memory killer, are beyond this; enoughMemory refuses early
// where a limit on the address space (ulimit -v) leaves too little.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_GUARD_H
#define CONVJIT_COMPILER_GUARD_H

#include "convjit/Error.h"

#include <exception>
#include <memory>
#include <new>

namespace convjit {

/// What a fatal error of LLVM's throws.
struct FatalError {
  std::string message;
};

/// Makes LLVM throw. Once a process; LLVM is this library's own.
void installErrorHandlers();

/// An error where the limit on the address space leaves too little to compile.
Status enoughMemory();

/// Remembers what LLVM keeps for each thread, and puts it back.
class ThreadState {
public:
  ThreadState();
  void restore() const;

private:
  const void *prettyStack;
};

/// Deletes, unless an exception is on its way through.
struct LeakWhenUnwinding {
  int before = std::uncaught_exceptions();
  template <typename T> void operator()(T *object) const {
    if (std::uncaught_exceptions() <= before)
      delete object;
  }
};
template <typename T> using Leaky = std::unique_ptr<T, LeakWhenUnwinding>;

/// Runs `body`, whose result is an Expected or a Status, with its exceptions as
/// errors.
template <typename Body> auto guarded(Body body) -> decltype(body()) {
  ThreadState state;
  try {
    return body();
  } catch (const std::bad_alloc &) {
    state.restore();
    return environmentError("not enough memory to compile");
  } catch (const FatalError &error) {
    state.restore();
    return internalError("LLVM: " + error.message);
  }
}

} // namespace convjit

#endif // CONVJIT_COMPILER_GUARD_H
