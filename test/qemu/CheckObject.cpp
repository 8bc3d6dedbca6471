//===- CheckObject.cpp - an emitted object held against the reference -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// convjit-check-object OBJECT.so LAYER [SYMBOL]: what `convjit verify LAYER`
// checks, on a CPU that LLVM need not be built for. The compiler's place is
// taken by a shared object: an archive that `convjit emit --name=layer` wrote.
// The archive picks the kernel, unless SYMBOL names a descriptor.
//
//===----------------------------------------------------------------------===//

#include "Checker.h"
#include "Layer.h"
#include "convjit/convjit_aot.h"

#include <cstdint>
#include <cstdio>

#include <dlfcn.h>

using namespace convjit;
using namespace convjit::cli;

static const char *objectPath, *descriptor;

struct Compiler::Impl {};
Compiler::Compiler(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
Compiler::~Compiler() = default;

Expected<std::unique_ptr<Compiler>> Compiler::create() {
  return std::unique_ptr<Compiler>(new Compiler(nullptr));
}

Expected<Kernel> Compiler::compile(const Convolution &conv,
                                   const CompileOptions &) const {
  // Never closed: the process has one kernel.
  void *library = dlopen(objectPath, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return environmentError(dlerror());
  const convjit_aot_kernel *found = nullptr;
  if (descriptor) {
    found = static_cast<const convjit_aot_kernel *>(dlsym(library, descriptor));
  } else {
    using Pick = const convjit_aot_kernel *();
    void *pick = dlsym(library, "convjit_layer_kernel");
    found = pick ? reinterpret_cast<Pick *>(pick)() : nullptr;
  }
  if (!found)
    return environmentError(std::string(objectPath) +
                            ": has no kernel for this machine");
  Kernel kernel;
  kernel.run = reinterpret_cast<ConvjitKernelFn>(found->run);
  kernel.pack = found->pack;
  kernel.conv = conv;
  kernel.tasksPerImage = found->tasks_per_image;
  kernel.packedWeightBytes = found->packed_weight_bytes;
  return kernel;
}

Expected<PlanReport> Compiler::plan(const Convolution &,
                                    const CompileOptions &) const {
  return internalError("an object has no plan");
}

static Expected<std::optional<Failure>> check(const std::string &text) {
  Expected<Layer> layer = readLayer(text);
  if (!layer)
    return layer.takeError();
  NamedCase item{layer->text, layer->conv, {}, {}};
  if (layer->isWeightGradient())
    item.forward = layer->forward;
  Expected<std::unique_ptr<Compiler>> compiler = Compiler::create();
  if (!compiler)
    return compiler.takeError();
  CompileOptions options;
  Position position;
  Checker checker(**compiler, options, {1, 2, 5}, position);
  checker.skipKernelsOfAllImages();
  return checker.check(item, /*seed=*/1);
}

int main(int argc, char **argv) {
  if (argc != 3 && argc != 4) {
    std::fprintf(stderr,
                 "usage: convjit-check-object OBJECT.so LAYER [SYMBOL]\n");
    return 2;
  }
  objectPath = argv[1];
  descriptor = argc == 4 ? argv[3] : nullptr;
  Expected<std::optional<Failure>> outcome = check(argv[2]);
  if (!outcome) {
    std::fprintf(stderr, "%s\n", outcome.error().message.c_str());
    return static_cast<int>(outcome.error().kind);
  }
  if (const std::optional<Failure> &failure = *outcome) {
    std::printf("%s, %lld images, %u threads: %s\n", failure->at.check,
                static_cast<long long>(failure->at.images), failure->at.threads,
                failure->detail.c_str());
    return 1;
  }
  return 0;
}
