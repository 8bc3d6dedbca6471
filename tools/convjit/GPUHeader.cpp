//===- GPUHeader.cpp - GPU kernels as a C header -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUHeader.h"

#include <sstream>

using namespace convjit;
using namespace convjit::cli;

/// The types that all kernels share.
static constexpr const char *declarations = R"(
#include <stddef.h>
#include <stdint.h>

#ifndef CONVJIT_GPU_KERNEL_DEFINED
#define CONVJIT_GPU_KERNEL_DEFINED

/* What a parameter of an entry is: a pointer to device memory, a multiple of
   convjit_gpu_kernel::pointer_alignment, or the batch. */
enum {
  CONVJIT_GPU_INPUT = 'i',    /* the input's elements */
  CONVJIT_GPU_FILTER = 'f',   /* the weight, as the layer has it */
  CONVJIT_GPU_PACKED = 'p',   /* packed_weight_bytes bytes */
  CONVJIT_GPU_BIAS = 'b',     /* one element for each output channel */
  CONVJIT_GPU_RESIDUAL = 'r', /* the output's shape */
  CONVJIT_GPU_OUTPUT = 'o',   /* the output's elements */
  CONVJIT_GPU_SCRATCH = 's',  /* scratch memory */
  CONVJIT_GPU_BATCH = 'n'     /* int64_t: images in the input */
};

/* One entry and its launch: a grid of convjit_gpu_blocks(launch, ...) blocks by
   1 by 1, blocks of `threads` threads by 1 by 1. A grid of 0 is not launched, one
   of 2^31 or more cannot be. Where shared_bytes is more than 48 KB, first
   cuFuncSetAttribute(entry, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
   shared_bytes), or the launch fails with CUDA_ERROR_INVALID_VALUE. */
typedef struct convjit_gpu_launch {
  const char *entry;
  const char *parameters; /* one of the letters above for each */
  int64_t threads;
  int64_t shared_bytes; /* dynamic shared memory */
  int64_t blocks;       /* for each images_per_block images of the output, */
  int64_t images_per_block; /* or in all where that is 0 */
} convjit_gpu_launch;

/* A PTX module and how it is launched: `pack` once for each weight, then
   `run[0]` to `run[run_count - 1]` in turn, on one stream. */
typedef struct convjit_gpu_kernel {
  const char *problem;
  const char *plan;
  const char *ptx;        /* for cuModuleLoadData */
  int compute_capability; /* the least, 10 * major + minor */
  size_t packed_weight_bytes;
  /* Scratch: the first, and the second for each image of the output, of which
     there are batch / batch_groups. */
  size_t scratch_bytes, scratch_bytes_per_image;
  size_t pointer_alignment;
  int64_t batch_groups;
  int64_t image_multiple; /* of it the batch is a multiple, in each group */
  int64_t summed_images;  /* those of the layer that a weight's gradient sums;
                             of all other kernels, 0 */
  convjit_gpu_launch pack;
  int run_count;
  const convjit_gpu_launch *run;
} convjit_gpu_kernel;

static inline int64_t convjit_gpu_blocks(const convjit_gpu_launch *launch,
                                         int64_t batch, int64_t batch_groups) {
  int64_t images = batch / batch_groups, boxes;
  if (launch->images_per_block == 0)
    return launch->blocks;
  boxes = images / launch->images_per_block +
          (images % launch->images_per_block != 0);
  /* More than can be launched, without overflow. */
  if (launch->blocks > 0 && boxes > INT64_MAX / launch->blocks)
    return INT64_MAX;
  return boxes * launch->blocks;
}

#endif /* CONVJIT_GPU_KERNEL_DEFINED */
)";

bool convjit::cli::isGPUHeaderName(const std::string &symbol) {
  return symbol == "convjit_gpu_kernel" || symbol == "convjit_gpu_launch" ||
         symbol == "convjit_gpu_blocks";
}

static char letterOf(GPUParameter parameter) {
  switch (parameter) {
  case GPUParameter::Input:
    return 'i';
  case GPUParameter::Filter:
    return 'f';
  case GPUParameter::Packed:
    return 'p';
  case GPUParameter::Bias:
    return 'b';
  case GPUParameter::Residual:
    return 'r';
  case GPUParameter::Output:
    return 'o';
  case GPUParameter::Scratch:
    return 's';
  case GPUParameter::Batch:
    return 'n';
  }
  return 0;
}

static std::string literal(const std::string &text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      result += '\\';
    if (c == '\t')
      result += "\\t";
    else
      result += c;
  }
  return result + "\"";
}

/// The text's characters one by one, a line of it a line. As a literal it would
/// be longer than compilers must take: 4,095 characters in C99, 65,536 in C++,
/// and 16,380 for each of its parts in Microsoft's; PTX has some hundred
/// thousand.
static void writeCharacters(std::ostream &out, const std::string &text) {
  constexpr size_t perLine = 120; // of characters, so of four times as many
  size_t inLine = 0;
  out << "    ";
  for (char c : text) {
    if (c == '\n')
      out << "'\\n',";
    else if (c == '\t')
      out << "'\\t',";
    else if (c == '\'' || c == '\\')
      out << "'\\" << c << "',";
    else
      out << "'" << c << "',";
    if (c == '\n' || ++inLine == perLine) {
      out << "\n    ";
      inLine = 0;
    }
  }
  out << "0";
}

static void writeLaunch(std::ostream &out, const GPULaunch &launch) {
  std::string letters;
  for (GPUParameter parameter : launch.parameters)
    letters += letterOf(parameter);
  out << "{" << literal(launch.entry) << ", " << literal(letters) << ", "
      << launch.threads << ", " << launch.sharedBytes << ", " << launch.blocks
      << ", " << launch.imagesPerBlock << "}";
}

/// How a weight's gradient is a convolution.
static void writeGradient(std::ostream &out, const NamedGPUKernel &named) {
  const GradientLaunch &gradient = *named.gradient;
  const char *input = "the layer's input",
             *output = "the gradient of the layer's output";
  if (gradient.exchanged)
    std::swap(input, output);
  out << "\n/* The weight's gradient, summed over " << named.summedImages
      << " image" << (named.summedImages == 1 ? "" : "s")
      << " of the layer: exactly so "
      << "many are read.\n   As a convolution, its input is " << input
      << ",\n   its weight " << output << ", its batch " << gradient.batch
      << " (the channels of\n   that input).";
  if (!gradient.asStored)
    out << " Of the result the spatial axes are to be reversed.";
  if (named.masked)
    out << "\n   The layer's mask is to multiply the result.";
  out << " */";
}

static void writeKernel(std::ostream &out, const std::string &symbol,
                        const NamedGPUKernel &named) {
  const GPUKernel &kernel = named.kernel;
  if (named.gradient)
    writeGradient(out, named);
  out << "\nstatic const char convjit_ptx_of_" << symbol << "[] = {\n";
  writeCharacters(out, kernel.ptx);
  out << "};\nstatic const convjit_gpu_launch convjit_run_of_" << symbol
      << "[] = {";
  for (const GPULaunch &launch : kernel.run) {
    out << "\n    ";
    writeLaunch(out, launch);
    out << ",";
  }
  out << "\n};\nstatic const convjit_gpu_kernel " << symbol << " = {\n    "
      << literal(named.problem) << ",\n    " << literal(kernel.plan)
      << ",\n    convjit_ptx_of_" << symbol << ", " << kernel.computeCapability
      << ", " << kernel.packedWeightBytes << ", " << kernel.scratchBytes << ", "
      << kernel.scratchBytesPerImage << ", " << kernel.pointerAlignment << ", "
      << kernel.conv.batchGroups << ", " << kernel.imageMultiple << ", "
      << named.summedImages << ",\n    ";
  writeLaunch(out, kernel.pack);
  out << ",\n    " << kernel.run.size() << ", convjit_run_of_" << symbol
      << "};\n";
}

std::string
convjit::cli::gpuHeader(const std::string &prefix,
                        const std::vector<NamedGPUKernel> &kernels) {
  std::ostringstream out;
  std::string guard = "CONVJIT_GPU_KERNELS_" + prefix + "_H";
  out << "/* Convolution kernels for NVIDIA GPUs ("
      << kernels.front().kernel.chip
      << " and later),\n   compiled ahead of time by convjit "
      << CONVJIT_VERSION << ". Generated; do not edit. */\n#ifndef " << guard
      << "\n#define " << guard << "\n"
      << declarations;
  for (const NamedGPUKernel &kernel : kernels)
    writeKernel(out, prefix + "_" + kernel.name, kernel);
  out << "\n#endif /* " << guard << " */\n";
  return out.str();
}
