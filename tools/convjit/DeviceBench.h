//===- DeviceBench.h - a layer timed on a GPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_DEVICEBENCH_H
#define CONVJIT_TOOLS_DEVICEBENCH_H

#include "Common.h"
#include "LayerList.h"

namespace convjit::cli {

/// Compiles a layer and times it on a device, `minMilliseconds` of it: the
/// fields of bench's JSON. The peak is that of the device's own clock and
/// multiprocessors with what data sheets say of one.
Expected<Json> benchOnDevice(const Compiler &compiler,
                             const CompileOptions &options, Device &device,
                             const ListedLayer &item, double minMilliseconds);

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_DEVICEBENCH_H
