//===- Layer.cpp - layers by name, and their tensors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Layer.h"
#include "SmallFloat.h"

#include <algorithm>
#include <cstring>

using namespace convjit;
using namespace convjit::cli;

std::unique_ptr<Executor> convjit::cli::makeExecutor(unsigned threads) {
  if (threads == 1)
    return std::make_unique<InlineExecutor>();
  return std::make_unique<ThreadPool>(threads);
}

int64_t convjit::cli::elementCount(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

int64_t convjit::cli::flopsOf(const Layer &layer, int64_t images) {
  const Convolution &conv =
      layer.isWeightGradient() ? layer.forward : layer.conv;
  return 2 * countMacs(conv, images * conv.batchGroups);
}

int64_t convjit::cli::bytesTouched(const Convolution &conv,
                                   size_t packedWeightBytes, int64_t batch) {
  int64_t output = elementCount(conv.outputShape(batch));
  int64_t elements = elementCount(conv.inputShape(batch)) + output +
                     (conv.residual ? output : 0) +
                     (conv.bias ? conv.outChannels : 0);
  return elements * sizeOf(conv.dtype) +
         static_cast<int64_t>(packedWeightBytes);
}

std::string convjit::cli::oneLine(std::string message) {
  while (!message.empty() && message.back() == '\n')
    message.pop_back();
  for (char &c : message)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = ' ';
  return message;
}

void convjit::cli::narrow(const std::vector<double> &values, DataType dtype,
                          void *to) {
  auto *bytes = static_cast<char *>(to);
  for (size_t i = 0; i < values.size(); ++i)
    switch (dtype) {
    case DataType::F64:
      std::memcpy(bytes + 8 * i, &values[i], 8);
      break;
    case DataType::F32: {
      auto value = static_cast<float>(values[i]);
      std::memcpy(bytes + 4 * i, &value, 4);
      break;
    }
    case DataType::F16:
    case DataType::BF16: {
      auto value = static_cast<float>(values[i]);
      uint16_t half =
          dtype == DataType::F16 ? floatToHalf(value) : floatToBfloat(value);
      std::memcpy(bytes + 2 * i, &half, 2);
      break;
    }
    }
}

double convjit::cli::rounded(double value, DataType dtype) {
  char bytes[8];
  narrow({value}, dtype, bytes);
  return elementAt(bytes, dtype, 0);
}

double convjit::cli::elementAt(const void *from, DataType dtype, size_t index) {
  const auto *bytes = static_cast<const char *>(from);
  if (dtype == DataType::F32) {
    float value;
    std::memcpy(&value, bytes + 4 * index, 4);
    return value;
  }
  if (dtype != DataType::F64) {
    uint16_t half;
    std::memcpy(&half, bytes + 2 * index, 2);
    return dtype == DataType::F16 ? halfToFloat(half) : bfloatToFloat(half);
  }
  double value;
  std::memcpy(&value, bytes + 8 * index, 8);
  return value;
}
