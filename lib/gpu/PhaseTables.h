//===- PhaseTables.h - numbers that depend on the phase -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_GPU_PHASETABLES_H
#define CONVJIT_LIB_GPU_PHASETABLES_H

#include "support/IndexMath.h"
#include "support/LiveTable.h"

namespace convjit {

/// values[phase] in the type of `math`; `phase` is an index. Few values are
/// chosen between, more are loaded from a constant table.
inline mlir::Value phaseValue(mlir::Operation *op, IndexMath &math,
                              llvm::ArrayRef<int64_t> values, mlir::Value phase,
                              llvm::StringRef name) {
  constexpr size_t mostSelects = 8;
  if (values.size() > mostSelects)
    return math.cast(lookUp(op, math.b, values, phase, name));
  mlir::Value result = math.constant(values.back());
  IndexMath index{math.b, math.loc};
  for (int64_t i = static_cast<int64_t>(values.size()) - 2; i >= 0; --i)
    if (values[i] != values.back())
      result = math.select(index.compare(mlir::arith::CmpIPredicate::eq, phase,
                                         index.constant(i)),
                           math.constant(values[i]), result);
  return result;
}

} // namespace convjit

#endif // CONVJIT_LIB_GPU_PHASETABLES_H
