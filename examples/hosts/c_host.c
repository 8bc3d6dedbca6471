/* Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
   See LICENSE for license information.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */

/* A C program that compiles a layer and runs it: a transposed 3-D convolution
   that repeats each voxel 2 x 2 x 2 times. */

#include <convjit/convjit.h>

#include <stdio.h>
#include <stdlib.h>

/* Ends the program where a function failed, with the library's own words. */
static void check(convjit_status status, convjit_error *error) {
  if (status == CONVJIT_OK)
    return;
  fprintf(stderr, "%s: %s\n", convjit_status_name(status),
          convjit_error_message(error));
  convjit_error_release(error);
  exit(1);
}

int main(void) {
  /* A library of another version may not know this program's structs. */
  if (convjit_version() / 1000 != CONVJIT_VERSION / 1000)
    return 1;
  convjit_error *error = NULL;
  convjit_context *context = NULL;
  convjit_context_options options = {.struct_size = sizeof options};
  options.threads = 2;
  options.cache = CONVJIT_CACHE_MEMORY;
  check(convjit_context_create(&options, &context, &error), error);

  convjit_layer *layer = NULL;
  check(convjit_layer_parse("convT3d:in=2x3x4x1,oc=1,k=2,s=2", &layer, &error),
        error);
  convjit_kernel *kernel = NULL;
  check(convjit_compile(context, layer, NULL, &kernel, &error), error);

  /* Once for each weight. */
  const float weights[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  const int64_t weight_shape[5] = {2, 2, 2, 1, 1};
  convjit_tensor weight = {sizeof weight, (void *)weights, CONVJIT_F32, 5,
                           weight_shape, NULL};
  convjit_kernel_info info = {.struct_size = sizeof info};
  check(convjit_kernel_get_info(kernel, &info, &error), error);
  void *packed = malloc(info.packed_weight_bytes + 1);
  check(convjit_kernel_pack(kernel, &weight, packed, info.packed_weight_bytes, &error),
        error);

  float x[2 * 24], y[2 * 192];
  for (int i = 0; i < 2 * 24; ++i)
    x[i] = (float)i;
  int64_t input_shape[5], output_shape[5];
  int32_t rank;
  check(convjit_layer_shape(layer, CONVJIT_TENSOR_INPUT, 2, input_shape, &rank,
                            &error),
        error);
  check(convjit_layer_shape(layer, CONVJIT_TENSOR_OUTPUT, 2, output_shape,
                            &rank, &error),
        error);
  convjit_tensor input = {sizeof input, x, CONVJIT_F32, rank, input_shape,
                          NULL};
  convjit_tensor output = {sizeof output, y, CONVJIT_F32, rank, output_shape,
                           NULL};
  convjit_call call = {.struct_size = sizeof call};
  call.input = &input;
  call.packed_weights = packed;
  call.output = &output;
  check(convjit_kernel_run(kernel, &call, &error), error);

  int wrong = 0;
  for (int i = 0; i < 2 * 192; ++i) {
    int w = i % 8, h = i / 8 % 6, d = i / 48 % 4, b = i / 192;
    wrong += y[i] != x[b * 24 + d / 2 * 12 + h / 2 * 4 + w / 2];
  }
  printf("%s: %d wrong\n", convjit_kernel_problem(kernel), wrong);

  free(packed);
  convjit_kernel_release(kernel);
  convjit_layer_release(layer);
  convjit_context_release(context);
  return wrong != 0;
}
