/*===- convjit_aot.h - a kernel compiled ahead of time ------------*- C -*-===*\
|*                                                                            *|
|* Part of convjit, under the Apache License v2.0 with LLVM Exceptions.       *|
|* See LICENSE for license information.                                       *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|* What an object made by `convjit emit` says of itself. Needs nothing but a  *|
|* C compiler: objects and this header make a program with libc alone.        *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef CONVJIT_AOT_H
#define CONVJIT_AOT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a kernel reads. Tensors are contiguous in the layer's axis order and
    aligned to their element at least. Generated code reads it, so that these
    fields stay where they are for ever; the one struct without a struct_size.
 */
typedef struct convjit_kernel_args {
  const void *input;
  const void *packed_weights; /**< as written by convjit_aot_kernel::pack */
  const void *bias;           /**< or NULL */
  const void *residual;       /**< the output's shape, or NULL */
  void *output;
  void *scratch; /**< scratch_bytes bytes, or NULL where that is 0 */
  int64_t batch; /**< images in the input; a multiple of batch_groups */
} convjit_kernel_args;

/** A kernel and what its caller must know. Constant data of the object. */
typedef struct convjit_aot_kernel {
  size_t struct_size;  /**< sizeof(convjit_aot_kernel) of the compiler */
  const char *problem; /**< canonical text of the layer */
  const char *target;  /**< LLVM's triple and CPU: "x86_64-...: haswell" */
  const char *plan;    /**< the plan's text */
  size_t packed_weight_bytes;
  size_t scratch_bytes; /**< for each thread */
  int64_t tasks_per_image;
  int64_t batch_groups;
  /** Once for each weight. `packed` may have any alignment of the element. */
  void (*pack)(const void *weights, void *packed);
  /** Runs tasks [begin, end) of [0, batch / batch_groups * tasks_per_image),
      in any order, on any threads. */
  void (*run)(const convjit_kernel_args *args, int64_t begin, int64_t end);
} convjit_aot_kernel;

/** All tasks of a call, on the calling thread. */
static inline void convjit_aot_run(const convjit_aot_kernel *kernel,
                                   const convjit_kernel_args *args) {
  kernel->run(args, 0,
              args->batch / kernel->batch_groups * kernel->tasks_per_image);
}

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* CONVJIT_AOT_H */
