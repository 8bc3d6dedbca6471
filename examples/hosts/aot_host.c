/* Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
   See LICENSE for license information.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */

/* A C program whose kernel was compiled ahead of time. convjit's runtime library
   checks shapes, copies what is not contiguous and spreads the work over
   threads; there is no compiler in this process. */

#include "host_kernels.h"

#include <convjit/convjit.h>

#include <stdio.h>
#include <stdlib.h>

static void check(convjit_status status, convjit_error *error) {
  if (status == CONVJIT_OK)
    return;
  fprintf(stderr, "%s: %s\n", convjit_status_name(status),
          convjit_error_message(error));
  convjit_error_release(error);
  exit(1);
}

int main(void) {
  convjit_error *error = NULL;
  convjit_context *context = NULL;
  convjit_context_options options = {.struct_size = sizeof options};
  options.threads = 2;
  check(convjit_context_create(&options, &context, &error), error);
  convjit_kernel *kernel = NULL;
  const convjit_aot_kernel *compiled = host_kernels_upsample_kernel();
  if (!compiled) {
    fprintf(stderr, "no kernel for this CPU\n");
    return 1;
  }
  check(convjit_kernel_from_aot(context, compiled, &kernel, &error), error);
  convjit_context_release(context);

  /* Weights (4, 4, 4, 3): one for the channel of the same number, else zero, so
     that each output is a sum of the pixels below its taps. */
  static float weights[4 * 4 * 4 * 3], x[3 * 6 * 5 * 3], y[3 * 12 * 10 * 4];
  for (int i = 0; i < 4 * 4 * 4 * 3; ++i)
    weights[i] = i / 3 % 4 == i % 3;
  for (int i = 0; i < 3 * 6 * 5 * 3; ++i)
    x[i] = (float)(i % 7);
  const int64_t weight_shape[4] = {4, 4, 4, 3}, input_shape[4] = {3, 6, 5, 3},
                output_shape[4] = {3, 12, 10, 4};
  convjit_tensor weight = {sizeof weight, weights, CONVJIT_F32, 4,
                           weight_shape, NULL};
  convjit_tensor input = {sizeof input, x, CONVJIT_F32, 4, input_shape, NULL};
  convjit_tensor output = {sizeof output, y, CONVJIT_F32, 4, output_shape,
                           NULL};

  convjit_kernel_info info = {.struct_size = sizeof info};
  check(convjit_kernel_get_info(kernel, &info, &error), error);
  void *packed = malloc(info.packed_weight_bytes);
  check(convjit_kernel_pack(kernel, &weight, packed, info.packed_weight_bytes,
                            &error),
        error);
  convjit_call call = {.struct_size = sizeof call};
  call.input = &input;
  call.packed_weights = packed;
  call.output = &output;
  check(convjit_kernel_run(kernel, &call, &error), error);

  /* k 4, s 2, same: output o reads the pixels (o - 1) / 2 and (o + 1) / 2, both
     rounded down, where they exist. */
  int wrong = 0;
  for (int b = 0; b < 3; ++b)
    for (int h = 0; h < 12; ++h)
      for (int w = 0; w < 10; ++w)
        for (int c = 0; c < 4; ++c) {
          float sum = 0;
          for (int i = (h + 1) / 2 - 1; i <= (h + 1) / 2; ++i)
            for (int j = (w + 1) / 2 - 1; j <= (w + 1) / 2; ++j)
              if (c < 3 && i >= 0 && i < 6 && j >= 0 && j < 5)
                sum += x[((b * 6 + i) * 5 + j) * 3 + c];
          wrong += y[((b * 12 + h) * 10 + w) * 4 + c] != sum;
        }
  printf("%s: %d wrong, %s\n", convjit_kernel_problem(kernel), wrong,
         convjit_has_compiler() ? "with a compiler" : "no compiler");

  free(packed);
  convjit_kernel_release(kernel);
  return wrong != 0 || convjit_has_compiler();
}
