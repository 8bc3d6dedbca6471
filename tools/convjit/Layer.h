//===- Layer.h - layers by name, and their tensors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_LAYER_H
#define CONVJIT_TOOLS_LAYER_H

#include "ConvolutionText.h"
#include "LayerText.h"
#include "convjit/Executor.h"
#include "convjit/Npy.h"

#include <memory>

namespace convjit::cli {

/// A layer named on the command line, as the C interface reads it too.
using convjit::Layer;
inline Expected<Layer> readLayer(const std::string &text) {
  return convjit::readLayer(text);
}
using convjit::checkBatch;
using convjit::shapeText;

/// An executor for `threads` threads, the caller's among them.
std::unique_ptr<Executor> makeExecutor(unsigned threads);

int64_t elementCount(const std::vector<int64_t> &shape);
/// FLOPs over true taps for `images` images of the output. A weight gradient
/// has as many as its layer.
int64_t flopsOf(const Layer &layer, int64_t images);
/// Bytes that a call reads and writes: input, packed weights, output, bias and
/// residual, each once.
int64_t bytesTouched(const Convolution &conv, size_t packedWeightBytes,
                     int64_t batch);
/// `message` with spaces for line ends and other control characters.
std::string oneLine(std::string message);

/// A copy of `values` as elements of `dtype` at `to`, and back.
void narrow(const std::vector<double> &values, DataType dtype, void *to);
/// The nearest number of that type.
double rounded(double value, DataType dtype);
double elementAt(const void *from, DataType dtype, size_t index);

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_LAYER_H
