//===- FuzzProblem.cpp - problem strings from any bytes -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Convolution.h"

#include <cstdlib>

using namespace convjit;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  Expected<Problem> problem = parseProblem(text);
  if (!problem) {
    const std::string &message = problem.error().message;
    if (problem.error().kind != ErrorKind::BadInput ||
        message.find("valid:") == std::string::npos ||
        message.find('\n') != std::string::npos)
      std::abort();
    return 0;
  }
  std::string printed = printProblem(*problem);
  Expected<Problem> again = parseProblem(printed);
  if (!again || !(*again == *problem) || printProblem(*again) != printed)
    std::abort();
  // The layer and its gradients lower or say why not.
  for (Gradient gradient :
       {Gradient::None, Gradient::Input, Gradient::Weight}) {
    Problem layer = *problem;
    layer.gradient = gradient;
    Expected<Convolution> conv = gradient == Gradient::Weight
                                     ? lowerWeightGradient(layer)
                                     : lower(layer);
    if (conv ? !validate(*conv) : conv.error().kind != ErrorKind::BadInput)
      std::abort();
  }
  return 0;
}
