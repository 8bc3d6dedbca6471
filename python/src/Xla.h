//===- Xla.h - the handler that XLA calls -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One typed FFI custom call runs every convolution. Its attribute
// `convolution` is the convolution's text, so that an executable read from a
// file says all that is needed to compile its kernels again.
//
//     operands   input, weights          row-major in the text's axis orders
//     results    output, scratch         u8[xlaScratchBytes], XLA's memory
//
// The kernel is compiled when XLA makes the executable (the instantiate stage);
// a call finds it in its state, takes no lock and allocates nothing.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_PYTHON_XLA_H
#define CONVJIT_PYTHON_XLA_H

#include "convjit/Kernel.h"

#include <string_view>

namespace convjit::python {

/// The handlers of two stages, for jax.ffi.register_ffi_target.
struct XlaEntryPoints {
  void *instantiate;
  void *execute;
};
XlaEntryPoints xlaEntryPoints();

/// Bytes of the scratch of one call: for packed weights, where the kernel wants
/// them packed, and for what else it needs with the threads of this machine.
size_t xlaScratchBytes(const Kernel &kernel, int64_t batch);

/// Sums over all calls of a convolution in this process.
struct XlaCalls {
  int64_t calls = 0;
  int64_t nanoseconds = 0; ///< the whole handler
  int64_t packNanoseconds = 0;
  int64_t shortest = 0; ///< nanoseconds of the fastest call
};
/// Zeros for a convolution that was never called.
XlaCalls xlaCalls(std::string_view convolution);

} // namespace convjit::python

#endif // CONVJIT_PYTHON_XLA_H
