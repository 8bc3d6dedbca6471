//===- Reproducer.h - what is left behind by an internal error -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_REPRODUCER_H
#define CONVJIT_TOOLS_REPRODUCER_H

#include "convjit/Compiler.h"

#include <string>

namespace convjit::cli {

/// What a reproducer names: the command, and the layer in hand. Not for more
/// than one thread.
void noteCommand(int argc, char **argv);
void noteLayer(const std::string &problem, const CompileOptions &options);

/// Writes problem, target, plan, version and command to a file in $TMPDIR, or
/// without that in the current folder. Returns its path; empty if it could not
/// be written.
std::string writeReproducer(const std::string &message);

/// From here on a fault or an abort is an internal error like any other: one
/// line, a reproducer and exit code 70.
void catchFaults();
/// Faults end the process by their signal again.
void leaveFaults();

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_REPRODUCER_H
