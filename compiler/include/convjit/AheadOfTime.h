//===- AheadOfTime.h - kernels as objects and archives -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What Compiler::library makes: kernels of several layers for several CPUs of
// one architecture, and the code that picks among them at run time. Programs
// that link it need the C library alone; convjit_aot.h describes its data.
//
// With the prefix p, a layer of the name n and the CPU haswell, it defines
//
//     const convjit_aot_kernel p_n_haswell;
//     const convjit_aot_kernel *p_n_kernel(void);      best for this machine
//     const convjit_aot_kernel *p_n_kernel_for(const char *cpu);
//     const convjit_aot_kernel *p_find(const char *problem);
//     const double p_n_mask[];                         where a layer has one
//
// which return NULL where no kernel runs on this machine.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_AHEADOFTIME_H
#define CONVJIT_AHEADOFTIME_H

#include "convjit/Compiler.h"

namespace convjit {

/// One layer of a library.
struct LibraryLayer {
  std::string name;    ///< letters, digits and underscores; unique
  std::string problem; ///< its canonical text; unique
  Convolution conv;
  int64_t images = 0; ///< as in CompileOptions
  /// Becomes the data p_n_mask; empty for none. For weight gradients, whose
  /// kernels do not have the mask in them.
  std::vector<double> mask;
};

/// Errors: a prefix or a name that is no C identifier or part of one, a layer
/// or a name that is there twice.
Status checkLibraryNames(const std::string &prefix,
                         const std::vector<LibraryLayer> &layers);

struct LibraryOptions {
  std::string prefix = "convjit"; ///< a C identifier
  /// Empty for the host alone. All of one architecture.
  std::vector<Target> targets;
  std::string plan; ///< as in CompileOptions; for every layer and target
};

/// One of the CPUs that a library has code for.
struct LibraryTarget {
  std::string triple;
  std::string cpu;
  std::string symbol; ///< its part of symbol names: x86_64_v2
  /// What a machine must have, as LLVM's names: checked when kernels are
  /// picked.
  std::vector<std::string> features;
  /// The length of SVE's registers that a machine must have; 0 for any.
  int64_t sveBits = 0;
};

/// The kernel of one layer for one target.
struct LibraryKernel {
  size_t layer = 0, target = 0; ///< positions in the library's lists
  std::string symbol;           ///< of its descriptor
  std::string plan;
  int64_t tasksPerImage = 0;
  size_t packedWeightBytes = 0;
  size_t scratchBytes = 0;
  size_t codeBytes = 0;
  std::string object; ///< name of the object that holds it
  /// Functions of the C library that it calls.
  std::vector<std::string> calls;
};

struct LibraryObject {
  std::string name; ///< a file name: p_n_haswell.o
  std::string bytes;
  std::string sha256; ///< of the bytes, in hexadecimal
};

/// The same layers, options and compiler make the same bytes.
struct Library {
  std::string prefix;
  std::vector<LibraryTarget> targets; ///< the best first
  std::vector<LibraryLayer> layers;
  std::vector<LibraryKernel> kernels; ///< by layer, then by target
  std::vector<LibraryObject> objects; ///< by name
  std::string archive;                ///< of all objects, with a symbol table
  std::string archiveSha256;
};

} // namespace convjit

#endif // CONVJIT_AHEADOFTIME_H
