//===- CheckObject.cpp - an emitted object held against the reference -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// convjit-check-object OBJECT.so LAYER: what `convjit verify LAYER` checks, on
// a CPU that LLVM need not be built for. The compiler's place is taken by a
// shared object: what `convjit emit --emit=obj` wrote, linked with Describe.c.
//
//===----------------------------------------------------------------------===//

#include "Checker.h"
#include "Layer.h"

#include <cstdint>
#include <cstdio>

#include <dlfcn.h>

using namespace convjit;
using namespace convjit::cli;

static const char *objectPath;

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
  auto number = [&](const char *name) {
    return static_cast<const int64_t *>(dlsym(library, name));
  };
  const int64_t *tasks = number("convjit_tasks_per_image");
  const int64_t *bytes = number("convjit_packed_weight_bytes");
  Kernel kernel;
  kernel.run =
      reinterpret_cast<ConvjitKernelFn>(dlsym(library, "convjit_kernel"));
  kernel.pack = reinterpret_cast<ConvjitPackFn>(dlsym(library, "convjit_pack"));
  if (!tasks || !bytes || !kernel.run || !kernel.pack)
    return environmentError(std::string(objectPath) +
                            ": lacks a symbol; valid: an emitted object linked "
                            "with Describe.c");
  kernel.conv = conv;
  kernel.tasksPerImage = *tasks;
  kernel.packedWeightBytes = static_cast<size_t>(*bytes);
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
  return checker.check(item, /*seed=*/1);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: convjit-check-object OBJECT.so LAYER\n");
    return 2;
  }
  objectPath = argv[1];
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
