/* Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
   See LICENSE for license information.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */

/* The descriptor of the kernel that `convjit emit` wrote. */

#include KERNEL_HEADER

#include <convjit/convjit_aot.h>

/* The emitted header has a name of its own for the same struct. */
static void run(const convjit_kernel_args *args, int64_t begin, int64_t end) {
  convjit_kernel((const ConvjitKernelArgs *)args, begin, end);
}

const convjit_aot_kernel host_kernel = {
    .struct_size = sizeof(convjit_aot_kernel),
    .problem = KERNEL_LAYER,
    .packed_weight_bytes = CONVJIT_PACKED_WEIGHT_BYTES,
    .tasks_per_image = CONVJIT_TASKS_PER_IMAGE,
    .batch_groups = CONVJIT_BATCH_GROUPS,
    .pack = convjit_pack,
    .run = run,
};
