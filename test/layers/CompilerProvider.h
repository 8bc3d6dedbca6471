//===- CompilerProvider.h - kernels straight from the compiler -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_LAYERS_COMPILERPROVIDER_H
#define CONVJIT_TEST_LAYERS_COMPILERPROVIDER_H

#include "LayerTesting.h"
#include "convjit/Compiler.h"

namespace convjit::nn {

/// Compiles each time it is asked.
class CompilerProvider final : public KernelProvider {
public:
  Expected<std::shared_ptr<const Kernel>>
  kernel(const Convolution &conv) override {
    Expected<Kernel> kernel = compiler->compile(conv);
    if (!kernel)
      return kernel.takeError();
    return std::make_shared<const Kernel>(std::move(*kernel));
  }

private:
  std::unique_ptr<Compiler> compiler = get(Compiler::create());
};

inline std::shared_ptr<KernelProvider> compiled() {
  static auto provider = std::make_shared<CompilerProvider>();
  return provider;
}

template <typename LayerType>
LayerType makeLayer(typename LayerType::Arguments arguments) {
  return get(LayerType::create(std::move(arguments), compiled()));
}

inline Array ones(Shape shape) { return get(Constant{1}(shape)); }

} // namespace convjit::nn

#endif // CONVJIT_TEST_LAYERS_COMPILERPROVIDER_H
