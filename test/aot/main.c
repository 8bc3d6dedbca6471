/* Runs the kernels of an archive on small integers and prints every element, for
   kernels.py. NULL stands for a kernel that is not there.

     main dispatch       which kernel each layer gets on this machine
     main run [CPU]      "LAYER: TARGET: ELEMENTS" with those, or with CPU's */
#include "net.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float *numbers(int64_t count, int64_t factor) {
  float *values = (float *)malloc((size_t)(count + 1) * sizeof(float));
  int64_t i;
  for (i = 0; i < count; ++i)
    values[i] = (float)(i * factor % 11 - 5);
  return values;
}

static void show(const char *layer, const convjit_aot_kernel *kernel,
                 const float *values, int64_t count) {
  int64_t i;
  printf("%s: %s:", layer, strchr(kernel->target, ' ') + 1);
  for (i = 0; i < count; ++i)
    printf(" %g", values[i]);
  printf("\n");
}

static void run(const char *layer, const convjit_aot_kernel *kernel,
                int64_t inputs, int64_t weights, int64_t outputs,
                int64_t channels) {
  convjit_kernel_args args = {0, 0, 0, 0, 0, 0, 0};
  float *input, *weight, *bias, *output;
  void *packed;
  int64_t task, tasks;
  if (!kernel) {
    printf("%s: NULL\n", layer);
    return;
  }
  args.batch = 2 * kernel->batch_groups;
  input = numbers(inputs * args.batch, 7);
  weight = numbers(weights, 3);
  bias = numbers(channels, 5);
  output = numbers(outputs * 2, 1);
  packed = malloc(kernel->packed_weight_bytes + 1);
  kernel->pack(weight, packed);
  args.input = input;
  args.packed_weights = packed;
  args.bias = bias;
  args.output = output;
  tasks = args.batch / kernel->batch_groups * kernel->tasks_per_image;
  for (task = tasks; task-- > 0;) /* any order is right */
    kernel->run(&args, task, task + 1);
  show(layer, kernel, output, outputs * 2);
}

#define GRADIENT(layer)                                                        \
  do {                                                                         \
    const convjit_aot_kernel *kernel =                                         \
        cpu ? net_##layer##_kernel_for(cpu) : net_##layer##_kernel();          \
    int64_t size = net_##layer##_WEIGHT_ELEMENTS;                              \
    float *result = numbers(size, 1);                                          \
    if (!kernel) {                                                             \
      printf(#layer ": NULL\n");                                               \
      break;                                                                   \
    }                                                                          \
    net_##layer##_weight_gradient(                                             \
        kernel, numbers(net_##layer##_INPUT_ELEMENTS * 2, 7),                  \
        numbers(net_##layer##_OUTPUT_ELEMENTS * 2, 3), 2,                      \
        malloc(kernel->packed_weight_bytes + 1), numbers(2 * size, 1),         \
        result);                                                               \
    show(#layer, kernel, result, size);                                        \
  } while (0)
#define RUN(layer, channels)                                                   \
  run(#layer, cpu ? net_##layer##_kernel_for(cpu) : net_##layer##_kernel(),    \
      net_##layer##_INPUT_ELEMENTS, net_##layer##_WEIGHT_ELEMENTS,             \
      net_##layer##_OUTPUT_ELEMENTS, channels)

int main(int argc, char **argv) {
  const char *cpu = argc > 2 ? argv[2] : NULL;
  if (argc > 1 && strcmp(argv[1], "dispatch") == 0) {
    const convjit_aot_kernel *kernel = net_find("conv1d:in=9x3,oc=4,k=3,g=1");
    printf("unknown: %s\n", kernel ? kernel->target : "NULL");
    kernel = net_find("convT2d:in=4x5x3,oc=5,k=3x2,s=2,pad=1:2,bias,act=relu");
    printf("found: %s\n", kernel ? strchr(kernel->target, ' ') + 1 : "NULL");
    return kernel != net_up_kernel();
  }
  RUN(up, 5);
  RUN(wide, 40);
  RUN(back, 0);
  GRADIENT(weights);
  GRADIENT(masked);
  return 0;
}
