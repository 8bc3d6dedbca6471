//===- Compiler.h - from a layer to a kernel -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The only public door to the compiler. No type of LLVM or MLIR appears here:
// they are linked into the library and hidden.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_H
#define CONVJIT_COMPILER_H

#include "convjit/Convolution.h"
#include "convjit/Error.h"
#include "convjit/GPUKernel.h"
#include "convjit/Kernel.h"

#include <memory>
#include <string>
#include <vector>

namespace convjit {

/// A CPU or GPU to compile for. Empty fields mean the host's CPU.
struct Target {
  /// Derived from `cpu` where that names another family of CPUs. A GPU is named
  /// by nvptx64-nvidia-cuda, its chip by `cpu`: sm_80 (also without one), ...
  std::string triple;
  std::string cpu;      ///< LLVM's name: znver5, haswell, neoverse-v2, ...
  std::string features; ///< LLVM's list: "+avx2,-fma"
};

/// The stages of the pipeline, in order.
enum class Stage {
  Conv,    ///< the layer form
  General, ///< conv.convolution, mask folded, planned
  Phases,  ///< conv.phase on packed filters
  Tiles,   ///< tasks and register tiles: scf + conv.tile
  Linalg,  ///< taps: scf + linalg on memrefs
  Vector,  ///< vector, accumulators in registers
  LLVM,    ///< LLVM IR
  Asm,     ///< assembly of the target
  Object,  ///< an object file's bytes
  // GPUs have Conv to Phases and LLVM too.
  Blocks, ///< kernels and launches: gpu + conv.block
  GPU,    ///< what each thread does: gpu + scf + vector on memrefs
  NVVM,   ///< the LLVM and NVVM dialects
  PTX     ///< the text of a PTX module
};

/// A way of carrying the layer out: a plan, or one that is not possible.
struct Candidate {
  std::string name; ///< the plan's text, or what else there might be
  bool chosen = false;
  std::string reason;
  /// Predicted for one image on one core; 0 where there is no plan.
  double cycles = 0;
};

/// What will be compiled and why.
struct PlanReport {
  std::string plan; ///< the plan attribute's text; accepted by CompileOptions
  std::vector<Candidate> candidates;
  int64_t tasksPerImage = 0;
  size_t packedWeightBytes = 0;
  /// In all, and on a GPU for each image of the output besides.
  size_t scratchBytes = 0, scratchBytesPerImage = 0;
  std::string target; ///< "x86_64-...: znver5, 16 f32 lanes, 32 registers"
  std::vector<GPULaunch> launches; ///< of a GPU, instead of tasks
};

struct CompileOptions {
  Target target;
  /// Text of a plan attribute (`#conv.plan<...>`), or empty to let the cost
  /// model choose.
  std::string plan;
  /// Images of the output in a batch group that the plan is to be good for. 0:
  /// on GPUs eight; on CPUs as many as output channels, and it only matters
  /// where the batch is not outermost in memory, as in gradients of weights. A
  /// kernel is right for any number.
  int64_t images = 0;
  /// GPU: the images of the output of every call are a multiple of this. Where
  /// they are neighbours in memory, a plan may rely on a power of two that
  /// divides it (GPUKernel::imageMultiple).
  int64_t imageMultiple = 1;

  /// For a call that always has so many.
  void setImages(int64_t count) { images = imageMultiple = count; }
};

/// Of `images`, what a CPU's kernel depends on: nothing, where the batch is
/// outermost.
int64_t plannedImages(const Convolution &conv, int64_t images);

struct Library;
struct LibraryLayer;
struct LibraryOptions;

/// A kernel's code before it is loaded, and what its callers must know.
struct CompiledKernel {
  std::string object; ///< relocatable; defines convjit_kernel and convjit_pack
  std::string plan;
  size_t packedWeightBytes = 0;
  size_t scratchBytes = 0; ///< as in Kernel
  int64_t tasksPerImage = 0;
  int64_t pieces = 1; ///< as in Kernel
  size_t codeBytes = 0;
  double compileMilliseconds = 0;
};

/// The name of the GPU (Target::cpu) whose kernels a device of this compute
/// capability, 10 * major + minor, runs best. Errors of kind Environment: one
/// that is too old.
Expected<std::string> gpuFor(int computeCapability);

/// Multiply-adds a cycle of a multiprocessor's units that kernels with this
/// plan use, by vendors' data sheets. `gpu` is one that kernels are made for.
int64_t gpuProductsPerCycle(const std::string &gpu, DataType dtype,
                            const std::string &plan);

/// The vectors that kernels for a CPU compute with.
struct VectorUnits {
  int64_t bits = 128;
  /// Of AVX-512 too; without it a multiply-add is two instructions.
  bool fusedMultiplyAdd = true;
};

/// Errors: a target that `compile` refuses, as one that the host cannot
/// execute.
Expected<VectorUnits> vectorUnits(const Target &target);

/// Compiles layers and owns the machinery for it. Thread-safe: any number of
/// threads may compile at once; kernels outlive the compiler.
class Compiler {
public:
  /// Errors: the host's CPU is not one this build can generate code for.
  static Expected<std::unique_ptr<Compiler>> create();
  ~Compiler();

  /// Compiles for the target and loads the code. A target that the host cannot
  /// execute is an error of kind BadInput: use `emit` for it.
  Expected<Kernel> compile(const Convolution &conv,
                           const CompileOptions &options = {}) const;

  /// The same without loading.
  Expected<CompiledKernel>
  compileObject(const Convolution &conv,
                const CompileOptions &options = {}) const;

  /// Compiles for a GPU; nothing is loaded. Errors: a target that is none, or
  /// that kernels are not made for, a plan that the convolution cannot have.
  /// With CONVJIT_PTX_WITH_IR=1 in the environment the PTX carries, as
  /// comments, the LLVM IR that it was made from: docs/emulator.md.
  Expected<GPUKernel> compileGPU(const Convolution &conv,
                                 const CompileOptions &options) const;

  /// The text (or bytes) of one stage, for any target. Stage::Conv shows the
  /// layer form when `problem` is given.
  Expected<std::string> emit(const Convolution &conv, Stage stage,
                             const CompileOptions &options = {},
                             const Problem *problem = nullptr) const;

  /// Objects and an archive for programs without a compiler, for any target:
  /// see AheadOfTime.h. Errors: a prefix or a name that is no C identifier, a
  /// name, problem or CPU that comes twice, CPUs of two architectures, and
  /// those of `emit`.
  Expected<Library> library(const std::vector<LibraryLayer> &layers,
                            const LibraryOptions &options) const;

  Expected<PlanReport> plan(const Convolution &conv,
                            const CompileOptions &options = {}) const;

private:
  struct Impl;
  explicit Compiler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

} // namespace convjit

#endif // CONVJIT_COMPILER_H
