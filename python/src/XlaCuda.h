//===- XlaCuda.h - the handler that XLA calls on a GPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The custom call of Xla.h for the platform CUDA. Attributes: `convolution`,
// its text, `gpu`, the target that it was lowered for ("sm_90"), and `plan`,
// what it was lowered with, so that an executable read from a file needs no
// more scratch than it brings.
//
//     operands   input, weights           row-major in the text's axis orders
//     results    output
//                packed weights           u8[packedWeightBytes], XLA's memory
//                scratch                  u8[scratchBytes(batch)], XLA's memory
//
//     instantiate  compiles to PTX, or finds what lowering has compiled
//     initialize   loads the module on the device of the run; once
//     execute      puts launches on XLA's stream, and nothing else: it loads,
//                  allocates and waits for nothing, so that XLA may record it
//                  into a command buffer
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_PYTHON_XLACUDA_H
#define CONVJIT_PYTHON_XLACUDA_H

namespace convjit::python {

/// The handlers of three stages, for jax.ffi.register_ffi_target.
struct XlaCudaEntryPoints {
  void *instantiate;
  void *initialize;
  void *execute;
};
XlaCudaEntryPoints xlaCudaEntryPoints();

} // namespace convjit::python

#endif // CONVJIT_PYTHON_XLACUDA_H
