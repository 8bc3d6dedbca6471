//===- Interleave.cpp - vectors of phases and of their outputs -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vector/Interleave.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace convjit;

/// As many vectors as there are; element j of result k is element `from(k, j)`
/// = (which vector, which element).
static SmallVector<Value>
rearrange(OpBuilder &b, Location loc, ArrayRef<Value> vectors,
          function_ref<std::pair<int64_t, int64_t>(int64_t, int64_t)> from) {
  int64_t size = cast<VectorType>(vectors.front().getType()).getNumElements();
  auto count = static_cast<int64_t>(vectors.size());
  SmallVector<Value> results;
  for (int64_t k = 0; k < count; ++k) {
    // One more vector at a time takes its places.
    Value result = vectors.front();
    for (int64_t taken = 1; taken < count; ++taken) {
      SmallVector<int64_t> order;
      bool needed = false;
      for (int64_t j = 0; j < size; ++j) {
        auto [which, element] = from(k, j);
        needed |= which == taken || taken == 1;
        if (which == taken)
          order.push_back(size + element);
        else
          order.push_back(taken == 1 && which == 0 ? element : j);
      }
      if (needed)
        result =
            vector::ShuffleOp::create(b, loc, result, vectors[taken], order);
    }
    results.push_back(result);
  }
  return results;
}

SmallVector<Value> convjit::interleaveVectors(OpBuilder &b, Location loc,
                                              ArrayRef<Value> phases) {
  int64_t size = cast<VectorType>(phases.front().getType()).getNumElements();
  auto count = static_cast<int64_t>(phases.size());
  return rearrange(b, loc, phases, [&](int64_t k, int64_t j) {
    int64_t output = k * size + j;
    return std::pair(output % count, output / count);
  });
}

SmallVector<Value> convjit::deinterleaveVectors(OpBuilder &b, Location loc,
                                                ArrayRef<Value> outputs) {
  int64_t size = cast<VectorType>(outputs.front().getType()).getNumElements();
  auto count = static_cast<int64_t>(outputs.size());
  return rearrange(b, loc, outputs, [&](int64_t k, int64_t j) {
    int64_t output = j * count + k;
    return std::pair(output / size, output % size);
  });
}
