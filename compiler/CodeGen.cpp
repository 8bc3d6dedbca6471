//===- CodeGen.cpp - MLIR's LLVM dialect to LLVM IR, assembly and objects -*-
// C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// LLVM's default pipelines are not run: the loops arrive tiled, unrolled and
// vectorized, and O2 would take longer than all the rest without making the
// inner loop better (docs/architecture.md has the figures).
//
//===----------------------------------------------------------------------===//

#include "CodeGen.h"
#include "Guard.h"
#include "Passes.h"

#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/OptBisect.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Pass.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Transforms/Scalar.h"

using namespace convjit;

namespace {

/// Collects the back end's errors instead of printing them and exiting.
struct CollectingHandler final : llvm::DiagnosticHandler {
  explicit CollectingHandler(std::string &errors) : errors(errors) {}
  bool handleDiagnostics(const llvm::DiagnosticInfo &info) override {
    if (info.getSeverity() == llvm::DS_Error) {
      llvm::raw_string_ostream stream(errors);
      llvm::DiagnosticPrinterRawOStream printer(stream);
      info.print(printer);
      stream << "; ";
    }
    return true;
  }
  std::string &errors;
};

/// Leaves passes over LLVM IR out of the code generator that find nothing in a
/// kernel. Loop strength reduction weighs every load of a register tile against
/// every other, half of all compile time, but the addresses of a tile already
/// are one register and a constant. The analyses that these passes ask for go
/// with them.
class TilePassManager final : public llvm::legacy::PassManager {
public:
  void add(llvm::Pass *pass) override {
    if (llvm::StringSwitch<bool>(pass->getPassName())
            .Cases({"Loop Strength Reduction",
                    "Canonicalize Freeze Instructions in Loops",
                    "Merge contiguous icmps into a memcmp",
                    "Expand memcmp() to load/stores", "Constant Hoisting",
                    "Partially inline calls to library functions"},
                   true)
            .Default(false)) {
      delete pass;
      return;
    }
    llvm::legacy::PassManager::add(pass);
  }
};

/// In long straight code, such as the spelled out taps of a border tile, the
/// machine scheduler moves loads so far up that registers run out: 14 pixels by
/// 32 channels with 21 products each, 1295 spills of vectors with it, 689
/// without, and 85 and 92 % of the peak for the layer
/// (conv2d:in=224x224x3,oc=64,k=7,s=2,pad=3). Short blocks gain a little by it.
/// So it does with partial sums in most registers: 48 to 40 channels, k 5 x 4 x
/// 3 s 2 x 3 x 1, 24 of them, 4.04 ms with it, 2.33 without.
/// A gate belongs to one context, unlike the option that would do the same.
struct UnscheduledGate final : llvm::OptPassGate {
  bool shouldRunPass(llvm::StringRef pass, llvm::StringRef) const override {
    return pass != "machine-scheduler";
  }
  bool isEnabled() const override { return true; }
};

/// Whether some block has hundreds of multiply-adds of a vector, or the order
/// of its instructions has been chosen.
bool isAsWritten(const llvm::Module &module) {
  constexpr uint64_t lineBits = 512, manyFMAs = 300;
  for (const llvm::Function &function : module) {
    if (function.hasFnAttribute(asWrittenAttr))
      return true;
    for (const llvm::BasicBlock &block : function) {
      uint64_t bits = 0;
      for (const llvm::Instruction &inst : block) {
        auto *call = llvm::dyn_cast<llvm::IntrinsicInst>(&inst);
        if (call && (call->getIntrinsicID() == llvm::Intrinsic::fma ||
                     call->getIntrinsicID() == llvm::Intrinsic::fmuladd))
          bits += call->getType()->getPrimitiveSizeInBits();
      }
      if (bits > manyFMAs * lineBits)
        return true;
    }
  }
  return false;
}

} // namespace

Expected<std::unique_ptr<llvm::Module>>
convjit::translateToLLVM(mlir::Operation *module, llvm::LLVMContext &context,
                         const TargetInfo &target,
                         llvm::TargetMachine &machine) {
  std::unique_ptr<llvm::Module> result =
      mlir::translateModuleToLLVMIR(module, context, "convjit");
  if (!result)
    return internalError("translation to LLVM IR failed");
  result->setTargetTriple(machine.getTargetTriple());
  result->setDataLayout(machine.createDataLayout());
  for (llvm::Function &function : *result) {
    if (function.isDeclaration())
      continue;
    // Some CPUs are tuned to avoid 512-bit vectors; the plan has decided.
    function.addFnAttr("prefer-vector-width", "512");
    function.addFnAttr(llvm::Attribute::NoUnwind);
    // Nothing unwinds through a kernel but a debugger's backtrace.
    function.setUWTableKind(llvm::UWTableKind::Sync);
    // Spilled vectors that straddle cache lines cost up to 1.4 times the whole
    // kernel's time, where the stack happens to lie so. The register allocator
    // aligns them only if it knows in time that the frame will be aligned.
    if (machine.getTargetTriple().isX86())
      function.addFnAttr("stackrealign");
    // With a length that is known, SVE's registers hold fixed vectors.
    if (auto vscale = static_cast<unsigned>(target.sveBits / 128))
      function.addFnAttr(
          llvm::Attribute::getWithVScaleRangeArgs(context, vscale, vscale));
  }
  // Takes apart the buffers' descriptors and shares the arithmetic of indices,
  // at a seventh of what MLIR's canonicalizer and CSE take for the same.
  llvm::legacy::FunctionPassManager passes(result.get());
  passes.add(llvm::createEarlyCSEPass());
  passes.add(llvm::createDeadCodeEliminationPass());
  passes.doInitialization();
  for (llvm::Function &function : *result)
    passes.run(function);
  passes.doFinalization();
  return result;
}

Expected<std::string> convjit::generateCode(llvm::Module &module,
                                            llvm::TargetMachine &machine,
                                            bool assembly) {
  std::string errors;
  module.getContext().setDiagnosticHandler(
      std::make_unique<CollectingHandler>(errors));
  static UnscheduledGate asWritten;
  if (isAsWritten(module))
    module.getContext().setOptPassGate(asWritten);
  if (llvm::verifyModule(module))
    return internalError("the generated LLVM IR is not valid");
  llvm::SmallVector<char, 0> buffer;
  llvm::raw_svector_ostream stream(buffer);
  // Half-way through, its functions cannot be taken apart.
  Leaky<TilePassManager> passes(new TilePassManager);
  if (machine.addPassesToEmitFile(*passes, stream, nullptr,
                                  assembly ? llvm::CodeGenFileType::AssemblyFile
                                           : llvm::CodeGenFileType::ObjectFile))
    return internalError("the target cannot emit this kind of file");
  passes->run(module);
  if (!errors.empty())
    return internalError("code generation: " + errors);
  return std::string(buffer.begin(), buffer.end());
}
