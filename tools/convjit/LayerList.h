//===- LayerList.h - lists of layers in files -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_LAYERLIST_H
#define CONVJIT_TOOLS_LAYERLIST_H

#include "convjit/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace convjit::cli {

constexpr int64_t maxBatch = int64_t(1) << 20;

struct ListedLayer {
  std::string problem;
  int64_t batch = 1;
  std::string name = ""; ///< empty where the list has none
};

/// Reads a CSV file whose first line names its columns: `problem`, perhaps
/// `batch` and `name`, and others that are free.
Expected<std::vector<ListedLayer>> readLayerList(const std::string &path);

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_LAYERLIST_H
