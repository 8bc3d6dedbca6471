/*===- decode.c - a small decoder, compiled ahead of time ---------*- C -*-===*\
|*                                                                            *|
|* Part of convjit, under the Apache License v2.0 with LLVM Exceptions.       *|
|* See LICENSE for license information.                                       *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|* Doubles a volume with a transposed convolution and makes one channel of    *|
|* it. The sum that it prints is exact: all data are small integers.          *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#include "decoder.h"

#include <stdio.h>
#include <stdlib.h>

enum { batch = 2 };

/* A layer's output, or NULL without memory. */
static float *apply(const convjit_aot_kernel *kernel, const float *input,
                    const float *weights, const float *bias, int64_t outputs) {
  convjit_kernel_args args = {0};
  float *output = malloc((size_t)(outputs * batch) * sizeof *output);
  void *packed = malloc(kernel->packed_weight_bytes);
  if (output && packed) {
    kernel->pack(weights, packed); /* once for each weight in a real program */
    args.input = input;
    args.packed_weights = packed;
    args.bias = bias;
    args.output = output;
    args.batch = batch;
    convjit_aot_run(kernel, &args);
  }
  free(packed);
  return output;
}

static float *numbers(int64_t count, int64_t factor) {
  float *values = malloc((size_t)count * sizeof *values);
  if (values)
    for (int64_t i = 0; i < count; ++i)
      values[i] = (float)(i * factor % 5 - 2);
  return values;
}

int main(void) {
  const convjit_aot_kernel *up = decoder_up_kernel();
  const convjit_aot_kernel *head = decoder_head_kernel();
  if (!up || !head) {
    fprintf(stderr, "no kernel for this CPU\n");
    return 1;
  }
  float *input = numbers(decoder_up_INPUT_ELEMENTS * batch, 7);
  float *upWeights = numbers(decoder_up_WEIGHT_ELEMENTS, 3);
  float *headWeights = numbers(decoder_head_WEIGHT_ELEMENTS, 2);
  float *bias = numbers(8, 1), *middle = NULL, *output = NULL;
  double sum = 0;
  if (input && upWeights && headWeights && bias)
    middle = apply(up, input, upWeights, bias, decoder_up_OUTPUT_ELEMENTS);
  if (middle)
    output =
        apply(head, middle, headWeights, bias, decoder_head_OUTPUT_ELEMENTS);
  if (output) {
    for (int64_t i = 0; i < decoder_head_OUTPUT_ELEMENTS * batch; ++i)
      sum += output[i] * (double)(i % 7);
    printf("%s\nsum %.0f\n", up->target, sum);
  }
  free(input);
  free(upWeights);
  free(headWeights);
  free(bias);
  free(middle);
  free(output);
  return !output;
}
