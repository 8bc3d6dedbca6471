//===- LibraryText.h - a library of kernels, described -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_LIBRARYTEXT_H
#define CONVJIT_TOOLS_LIBRARYTEXT_H

#include "Common.h"
#include "convjit/AheadOfTime.h"

namespace convjit::cli {

/// The C header of a library; `layers` are those of the library, in its order.
/// Valid C99 and C++; contains convjit_aot.h and needs no other file.
std::string libraryHeader(const Library &library,
                          const std::vector<Layer> &layers);

/// What the library holds, for programs.
Json libraryManifest(const Library &library, const std::vector<Layer> &layers);

/// File names of a library's parts.
std::string archiveName(const Library &library);
std::string headerName(const Library &library);
std::string manifestName(const Library &library);

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_LIBRARYTEXT_H
