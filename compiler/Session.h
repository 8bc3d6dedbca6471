//===- Session.h - objects to callable code -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_SESSION_H
#define CONVJIT_COMPILER_SESSION_H

#include "convjit/Error.h"

#include <memory>
#include <string>

namespace convjit {

/// Code in memory; unmapped when the last reference goes.
struct LoadedObject {
  void *kernel = nullptr;
  void *pack = nullptr;
  std::shared_ptr<void> code;
};

/// Links objects into this process with JITLink. Thread-safe; loaded objects
/// outlive the session.
class Session {
public:
  static Expected<std::shared_ptr<Session>> create();
  ~Session();

  /// Loads a relocatable object that defines PREFIX_kernel and PREFIX_pack.
  Expected<LoadedObject> load(std::string object, const std::string &prefix);

private:
  struct Impl;
  explicit Session(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl;
};

} // namespace convjit

#endif // CONVJIT_COMPILER_SESSION_H
