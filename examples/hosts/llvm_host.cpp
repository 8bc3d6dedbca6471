// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A program that has an LLVM of its own, the shared library: it and the one
// inside libconvjit do not see each other.

#include <convjit/convjit.hpp>

#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>

#include <cstdio>
#include <cstdlib>

using namespace convjit::host;

/// Machine code of `int answer() { return 42; }`, by the program's LLVM.
static size_t codeOfAnswer() {
  LLVMInitializeNativeTarget();
  LLVMInitializeNativeAsmPrinter();
  LLVMContextRef context = LLVMContextCreate();
  LLVMModuleRef module = LLVMModuleCreateWithNameInContext("host", context);
  LLVMTypeRef type =
      LLVMFunctionType(LLVMInt32TypeInContext(context), nullptr, 0, 0);
  LLVMValueRef function = LLVMAddFunction(module, "answer", type);
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(context);
  LLVMPositionBuilderAtEnd(
      builder, LLVMAppendBasicBlockInContext(context, function, ""));
  LLVMBuildRet(builder, LLVMConstInt(LLVMInt32TypeInContext(context), 42, 0));
  char *triple = LLVMGetDefaultTargetTriple(), *message = nullptr;
  LLVMTargetRef target = nullptr;
  if (LLVMGetTargetFromTriple(triple, &target, &message))
    std::exit(1);
  LLVMTargetMachineRef machine =
      LLVMCreateTargetMachine(target, triple, "", "", LLVMCodeGenLevelDefault,
                              LLVMRelocPIC, LLVMCodeModelDefault);
  LLVMMemoryBufferRef object = nullptr;
  if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMObjectFile,
                                          &message, &object))
    std::exit(1);
  size_t bytes = LLVMGetBufferSize(object);
  LLVMDisposeMemoryBuffer(object);
  LLVMDisposeTargetMachine(machine);
  LLVMDisposeMessage(triple);
  LLVMDisposeBuilder(builder);
  LLVMDisposeModule(module);
  LLVMContextDispose(context);
  return bytes;
}

/// A kernel by convjit's, which is run.
static bool convolve(const char *problem) {
  Context context;
  Layer layer;
  Kernel kernel;
  auto options = make<convjit_context_options>();
  options.cache = CONVJIT_CACHE_MEMORY;
  for (const Result &result :
       {call(convjit_context_create, &options, context.out()),
        call(convjit_layer_parse, problem, layer.out()),
        call(convjit_compile, context.get(), layer.get(), nullptr,
             kernel.out())})
    if (!result) {
      std::fprintf(stderr, "%s\n", result.message());
      return false;
    }
  float x[5] = {1, 2, 3, 4, 5}, w = 2, y[5], packed[64];
  Tensor weight(&w, {1, 1, 1}), input(x, {1, 5, 1}), output(y, {1, 5, 1});
  auto now = make<convjit_call>();
  now.input = input.get();
  now.packed_weights = packed;
  now.output = output.get();
  return call(convjit_kernel_pack, kernel.get(), weight.get(), packed,
              sizeof packed) &&
         call(convjit_kernel_run, kernel.get(), &now) && y[4] == 10;
}

int main() {
  bool good = convolve("conv1d:in=5x1,oc=1,k=1") && codeOfAnswer() > 0 &&
              convolve("conv1d:in=5x1,oc=1,k=1,act=relu") && codeOfAnswer() > 0;
  std::printf("two LLVMs in one process: %s\n", good ? "good" : "broken");
  return !good;
}
