//===- ConvDialect.td - the conv dialect -*- tablegen -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_DIALECT_CONVDIALECT_TD
#define CONVJIT_DIALECT_CONVDIALECT_TD

include "mlir/IR/OpBase.td"

def Conv_Dialect : Dialect {
  let name = "conv";
  let cppNamespace = "::convjit::conv";
  let summary = "Convolutions, from the layer a user writes to register tiles";
  let description = [{
    One convolution layer at four levels:

    1. the layer forms `conv.conv` and `conv.conv_transpose`, with the padding
       modes and weight layouts of neural-network libraries, on tensors;
    2. `conv.convolution`, the general operation that every layer and gradient
       maps onto: StableHLO's convolution with an epilogue, on tensors;
    3. `conv.phases`, the same work split into interleaved output phases that
       are unit-dilation convolutions over exactly their own taps, on buffers,
       and `conv.pack_filter`, which lays the weights out for it;
    4. `conv.tile`, one register tile of one phase with its tap ranges.

    The attribute `#conv.plan` says how a convolution is to be carried out. It
    is chosen by `conv-plan`, may be edited by hand, and is replayed as found.
  }];
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = [{ void registerAttributes(); }];
}

class Conv_Op<string mnemonic, list<Trait> traits = []>
    : Op<Conv_Dialect, mnemonic, traits>;

#endif // CONVJIT_DIALECT_CONVDIALECT_TD
