/*===- convjit.h - the C interface --------------------------------*- C -*-===*\
|*                                                                            *|
|* Part of convjit, under the Apache License v2.0 with LLVM Exceptions.       *|
|* See LICENSE for license information.                                       *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|* A stable interface for hosts in any language; docs/c-api.md explains it    *|
|* with examples. What holds for every function:                              *|
|*                                                                            *|
|* - No exception leaves, nothing exits or prints. A function that can fail   *|
|*   returns a convjit_status and, where `error` is not NULL and the status   *|
|*   not CONVJIT_OK, stores an error there that the caller releases. On       *|
|*   success `*error` is set to NULL. Output handles are NULL after a failure.*|
|* - Every function may be called from any thread at any time, except that    *|
|*   nobody may use a handle after its last release, nor any layer while      *|
|*   convjit_layer_set_mask changes it.                                       *|
|* - Structs start with struct_size: the caller's sizeof. A library that is   *|
|*   newer fills in what is missing (zero: the default), one that is older    *|
|*   refuses fields it does not know unless they are zero. One has none:      *|
|*   convjit_kernel_args, which generated code reads and which never changes. *|
|* - Text is UTF-8 and ends with a zero. Sizes are in elements, unless a name *|
|*   says bytes. A NULL handle given to a release is ignored.                 *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef CONVJIT_CONVJIT_H
#define CONVJIT_CONVJIT_H

#include "convjit/convjit_aot.h"

#include <stddef.h>
#include <stdint.h>

#define CONVJIT_VERSION_MAJOR 0
#define CONVJIT_VERSION_MINOR 1
#define CONVJIT_VERSION_PATCH 0
/** Of this header; compare with convjit_version(). */
#define CONVJIT_VERSION                                                        \
  (CONVJIT_VERSION_MAJOR * 1000000 + CONVJIT_VERSION_MINOR * 1000 +            \
   CONVJIT_VERSION_PATCH)

#ifdef CONVJIT_BUILDING_LIBRARY
#define CONVJIT_API __attribute__((visibility("default")))
#else
#define CONVJIT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*===----------------------------------------------------------------------===*\
|* Version and status
\*===----------------------------------------------------------------------===*/

/** Of the library, as CONVJIT_VERSION. Compatible with a program whose header
    has the same major version and, while that is 0, the same minor one. */
CONVJIT_API int32_t convjit_version(void);
/** "0.1.0". Lives for ever. */
CONVJIT_API const char *convjit_version_string(void);
/** Whether this library compiles (libconvjit), or only runs what was compiled
    ahead of time (libconvjit_runtime). */
CONVJIT_API int32_t convjit_has_compiler(void);

typedef int32_t convjit_status;
enum {
  CONVJIT_OK = 0,
  /** The caller: the text names the field, its value and what is valid. */
  CONVJIT_STATUS_INVALID_ARGUMENT = 1,
  /** The machine: a file, a directory, a CPU. */
  CONVJIT_STATUS_ENVIRONMENT = 2,
  CONVJIT_STATUS_OUT_OF_MEMORY = 3,
  /** convjit_lookup: this kernel is not compiled (yet). */
  CONVJIT_STATUS_NOT_FOUND = 4,
  /** The host's executor failed; what the output holds is undefined. */
  CONVJIT_STATUS_EXECUTOR = 5,
  /** A bug of convjit. */
  CONVJIT_STATUS_INTERNAL = 6
};
/** "invalid argument" and so on; lives for ever. */
CONVJIT_API const char *convjit_status_name(convjit_status status);

/** What went wrong. Owned by the caller. */
typedef struct convjit_error convjit_error;
CONVJIT_API convjit_status convjit_error_status(const convjit_error *error);
/** One line; lives as long as the error. Of NULL: "". */
CONVJIT_API const char *convjit_error_message(const convjit_error *error);
CONVJIT_API void convjit_error_release(convjit_error *error);

/** Text or bytes that the caller owns. A zero follows the last byte. */
typedef struct convjit_text convjit_text;
CONVJIT_API const char *convjit_text_data(const convjit_text *text);
CONVJIT_API size_t convjit_text_size(const convjit_text *text);
CONVJIT_API void convjit_text_release(convjit_text *text);

/*===----------------------------------------------------------------------===*\
|* What the host provides
\*===----------------------------------------------------------------------===*/

/** The host's memory, for contexts, kernels, and scratch that a call does not
    bring. Used from any thread. Small things without a context (layers, errors,
    texts) come from malloc, and so does what the compiler uses. */
typedef struct convjit_allocator {
  size_t struct_size;
  void *user;
  /** `alignment` is a power of two. NULL: no memory; must not throw. */
  void *(*allocate)(void *user, size_t bytes, size_t alignment);
  void (*release)(void *user, void *memory, size_t bytes, size_t alignment);
} convjit_allocator;

/** Runs tasks [begin, end); `data` is the call's own. Never throws. */
typedef void (*convjit_task)(void *data, int64_t begin, int64_t end);

/** The host's threads. Give one of the two functions. */
typedef struct convjit_executor {
  size_t struct_size;
  void *user;
  /** Threads that run tasks of one call at once, the caller's among them; at
      least 1. No more may. */
  uint32_t concurrency;
  /** Calls task(data, begin, end) over disjoint ranges that cover [0, tasks),
      in any order and on any threads, and returns when all have returned.
      Nonzero: it could not; then no call of task is running any more. */
  int32_t (*parallel_for)(void *user, int64_t tasks, convjit_task task,
                          void *data);
  /** Schedules work(data): once, at any time, on any thread, even after the
      call that it is for has returned. Nonzero: not taken, and never called.
      The calling thread works as well and waits only for work that has
      started: a full pool cannot deadlock. */
  int32_t (*submit)(void *user, void (*work)(void *data), void *data);
} convjit_executor;

enum {
  CONVJIT_LOG_ERROR = 0,
  CONVJIT_LOG_WARNING = 1,
  CONVJIT_LOG_INFO = 2, /**< one line for each kernel not in memory */
  CONVJIT_LOG_DEBUG = 3 /**< and for each kernel asked for */
};

/*===----------------------------------------------------------------------===*\
|* Contexts
\*===----------------------------------------------------------------------===*/

enum {
  CONVJIT_CACHE_DEFAULT = 0, /**< on disk too, unless the environment says no */
  CONVJIT_CACHE_MEMORY = 1   /**< in memory alone */
};

/** Number of threads: one for each processor. */
#define CONVJIT_ALL_THREADS UINT32_MAX

/** All zero (but struct_size) is good. Texts and structs are copied. */
typedef struct convjit_context_options {
  size_t struct_size;
  const convjit_allocator *allocator; /**< NULL: malloc and free */
  /** NULL: nothing is logged. `message` is one line, for the call's time. Must
      not throw nor call back into the context. */
  void (*log)(void *user, int32_t level, const char *message);
  void *log_user;
  int32_t log_level; /**< messages above it are not made */
  /** Threads of calls that bring no executor, the caller's among them. 0 and 1:
      the calling thread alone. The context then owns the others; they sleep
      between calls. */
  uint32_t threads;
  const convjit_executor *executor; /**< instead of `threads` */
  /** What to compile for, as LLVM names it; NULL: this machine. */
  const char *target_triple, *target_cpu, *target_features;
  int32_t cache;               /**< CONVJIT_CACHE_... */
  const char *cache_directory; /**< NULL: the environment's or the user's */
  uint64_t cache_max_bytes;    /**< 0: the default */
  uint64_t cache_max_kernels;  /**< in memory; 0: all */
} convjit_context_options;

/** Kernels in memory and how they are made and run. */
typedef struct convjit_context convjit_context;

/** `options` may be NULL. Does not start the compiler: the first use does.
    Errors: options that contradict each other, no memory. */
CONVJIT_API convjit_status
convjit_context_create(const convjit_context_options *options,
                       convjit_context **context, convjit_error **error);
/** Kernels and layers stay valid, and so do calls of kernels in flight. The
    host's allocator, log and executor must live on until the last kernel that
    came from the context is released. */
CONVJIT_API void convjit_context_release(convjit_context *context);

/*===----------------------------------------------------------------------===*\
|* Layers
\*===----------------------------------------------------------------------===*/

enum {
  CONVJIT_F32 = 0,
  CONVJIT_F64 = 1,
  CONVJIT_F16 = 2, /**< on GPUs, and so is bf16: sums are f32 */
  CONVJIT_BF16 = 3
};

enum {
  CONVJIT_ACTIVATION_NONE = 0,
  CONVJIT_ACTIVATION_RELU = 1,
  CONVJIT_ACTIVATION_LEAKY_RELU = 2,
  CONVJIT_ACTIVATION_SIGMOID = 3,
  CONVJIT_ACTIVATION_TANH = 4,
  CONVJIT_ACTIVATION_SILU = 5,
  CONVJIT_ACTIVATION_GELU = 6,
  CONVJIT_ACTIVATION_GELU_TANH = 7
};

enum { CONVJIT_MAX_SPATIAL = 3, CONVJIT_MAX_RANK = 5 };

/** Every attribute of StableHLO's convolution, and an epilogue; its meaning is
    in docs/semantics.md. Arrays have `rank` entries. The batch is the input's
    at run time. Fill in with convjit_convolution_init, then change. */
typedef struct convjit_convolution {
  size_t struct_size;
  int32_t rank; /**< of space: 1, 2 or 3 */
  int32_t dtype;
  int64_t input_channels, output_channels;
  int64_t input[3], kernel[3]; /**< lengths */
  int64_t window_strides[3];
  int64_t padding_low[3], padding_high[3]; /**< negative: cropped */
  int64_t input_dilation[3], kernel_dilation[3];
  int32_t window_reversal[3];
  int32_t kernel_features_swapped; /**< see Convolution.h; 0 as a rule */
  int64_t feature_group_count, batch_group_count;
  int64_t input_batch_dimension, input_feature_dimension;
  int64_t input_spatial_dimensions[3];
  int64_t kernel_input_feature_dimension, kernel_output_feature_dimension;
  int64_t kernel_spatial_dimensions[3];
  int64_t output_batch_dimension, output_feature_dimension;
  int64_t output_spatial_dimensions[3];
  int32_t bias, residual; /**< whether it has them */
  int32_t activation;
  double activation_slope; /**< of LEAKY_RELU */
  /** Factors on the weight, in its shape, row-major; a weight whose factor is 0
      is absent. NULL for none. */
  const double *mask;
  size_t mask_size;
  /** Elements from one index of each of the input's axes to the next, where it
      is part of a larger array: inputs of calls with these strides are used in
      place, and others refused. All 0: a contiguous input. */
  int64_t input_strides[5];
} convjit_convolution;

/** Strides, dilations and group counts of 1, no padding; data as (batch,
    space..., feature), kernel as (space..., input feature, output feature).
    Writes no more than struct_size bytes. A rank that is not 1, 2 or 3 stays
    for convjit_layer_create to refuse. */
CONVJIT_API void convjit_convolution_init(convjit_convolution *convolution,
                                          size_t struct_size, int32_t rank);

/** A layer, described. */
typedef struct convjit_layer convjit_layer;

/** From a problem string (docs/command-line.md), gradients included. A mask's
    file is read now; a file that cannot be read is CONVJIT_STATUS_ENVIRONMENT.
 */
CONVJIT_API convjit_status convjit_layer_parse(const char *problem,
                                               convjit_layer **layer,
                                               convjit_error **error);
CONVJIT_API convjit_status
convjit_layer_create(const convjit_convolution *convolution,
                     convjit_layer **layer, convjit_error **error);
/** Gives the layer this mask, which is copied; count 0 takes it away. Errors: a
    count that is not the weight's, a factor that is not finite. */
CONVJIT_API convjit_status convjit_layer_set_mask(convjit_layer *layer,
                                                  const double *factors,
                                                  size_t count,
                                                  convjit_error **error);
/** Canonical; lives until the layer is given a mask or released. Names no mask
    that was given as an array. */
CONVJIT_API const char *convjit_layer_text(const convjit_layer *layer);
CONVJIT_API void convjit_layer_release(convjit_layer *layer);

enum {
  CONVJIT_TENSOR_INPUT = 0,
  CONVJIT_TENSOR_WEIGHT = 1,
  CONVJIT_TENSOR_BIAS = 2,
  CONVJIT_TENSOR_RESIDUAL = 3,
  CONVJIT_TENSOR_OUTPUT = 4,
  CONVJIT_TENSOR_GRAD_OUTPUT = 5 /**< with grad=weight */
};

/** Writes the shape of one tensor for `batch` images of the input and its rank.
    Errors: a tensor that the layer does not have, a batch that is negative, not
    a multiple of the batch group count, or makes a tensor of 2^48 bytes. */
CONVJIT_API convjit_status convjit_layer_shape(const convjit_layer *layer,
                                               int32_t tensor, int64_t batch,
                                               int64_t shape[CONVJIT_MAX_RANK],
                                               int32_t *rank,
                                               convjit_error **error);
/** Multiplications by true taps, for `batch` images: half the FLOPs. */
CONVJIT_API int64_t convjit_layer_multiplications(const convjit_layer *layer,
                                                  int64_t batch);

/*===----------------------------------------------------------------------===*\
|* Compilation: libconvjit only
\*===----------------------------------------------------------------------===*/

/** A kernel. Immutable; counted references. */
typedef struct convjit_kernel convjit_kernel;

typedef struct convjit_compile_options {
  size_t struct_size;
  const char *plan; /**< text of a plan, or NULL to have one chosen */
  /** With grad=weight: the images of every call, which the kernel sums in one
      pass. 0: any number, added image by image, on CPUs only. For other layers:
      images that the plan is to be good for. On a GPU 0 means eight; on CPUs
      they only matter where the batch is not the outermost axis. */
  int64_t images;
} convjit_compile_options;

/** The kernel of a layer: from memory, or from the disk, or compiled on this
    thread. A kernel that another thread is compiling is waited for, not
    compiled again; other kernels are not held up. Errors are not remembered.
    `options` may be NULL. */
CONVJIT_API convjit_status
convjit_compile(convjit_context *context, const convjit_layer *layer,
                const convjit_compile_options *options, convjit_kernel **kernel,
                convjit_error **error);
/** The same where it is in memory; else CONVJIT_STATUS_NOT_FOUND, at once, even
    while another thread compiles it: for hosts that run on with something else
    meanwhile. */
CONVJIT_API convjit_status
convjit_lookup(convjit_context *context, const convjit_layer *layer,
               const convjit_compile_options *options, convjit_kernel **kernel,
               convjit_error **error);

/** One stage of compilation, for the context's target: "conv", "general",
    "phases", "tiles", "linalg", "vector", "llvm", "asm", or "obj" (bytes); for
    the target "nvptx64-nvidia-cuda" "conv", "general", "phases", "blocks",
    "gpu", "nvvm", "llvm" or "ptx". */
CONVJIT_API convjit_status convjit_emit(convjit_context *context,
                                        const convjit_layer *layer,
                                        const convjit_compile_options *options,
                                        const char *stage, convjit_text **text,
                                        convjit_error **error);
/** The plan and the alternatives with reasons, as a JSON document:
    {problem, target, plan, tasks_per_image, packed_weight_bytes, scratch_bytes,
    candidates: [{name, chosen, reason, cycles}]}. */
CONVJIT_API convjit_status
convjit_explain(convjit_context *context, const convjit_layer *layer,
                const convjit_compile_options *options, convjit_text **json,
                convjit_error **error);

/*===----------------------------------------------------------------------===*\
|* Kernels
\*===----------------------------------------------------------------------===*/

/** A kernel that was compiled ahead of time; `aot` and its code must outlive
    it. `context` may be NULL: malloc, no threads. Errors: a descriptor of
    another version, a problem text that does not parse. Whether this machine
    can run the code is not checked here but by the functions of the archive
    that give descriptors: PREFIX_NAME_kernel() and those like it. */
CONVJIT_API convjit_status
convjit_kernel_from_aot(convjit_context *context, const convjit_aot_kernel *aot,
                        convjit_kernel **kernel, convjit_error **error);
/** Another reference; returns its argument. */
CONVJIT_API convjit_kernel *convjit_kernel_retain(convjit_kernel *kernel);
/** The last one unmaps the code. */
CONVJIT_API void convjit_kernel_release(convjit_kernel *kernel);

enum {
  CONVJIT_GRADIENT_NONE = 0,
  CONVJIT_GRADIENT_INPUT = 1,
  CONVJIT_GRADIENT_WEIGHT = 2
};

typedef struct convjit_kernel_info {
  size_t struct_size;
  int32_t rank;  /**< of space */
  int32_t dtype; /**< of every tensor */
  int32_t bias, residual;
  int32_t gradient;
  size_t packed_weight_bytes; /**< 0 with grad=weight */
  /** Of the generated code, for each thread; convjit_kernel_scratch_bytes has
   * all. */
  size_t thread_scratch_bytes;
  size_t code_bytes;
  double compile_milliseconds; /**< it took; 0 ahead of time */
  int64_t tasks_per_image;
  int64_t batch_groups;
  /** The code, for hosts that spread tasks themselves; NULL with grad=weight.
      As in convjit_aot_kernel. */
  void (*pack)(const void *weights, void *packed);
  void (*run)(const convjit_kernel_args *args, int64_t begin, int64_t end);
  int64_t images; /**< with grad=weight: of every call, 0 for any number */
} convjit_kernel_info;

/** Fills in what the caller's struct_size has room for. */
CONVJIT_API convjit_status convjit_kernel_get_info(const convjit_kernel *kernel,
                                                   convjit_kernel_info *info,
                                                   convjit_error **error);
/** The layer's canonical text, and the plan's; they live as long as the
    kernel. */
CONVJIT_API const char *convjit_kernel_problem(const convjit_kernel *kernel);
CONVJIT_API const char *convjit_kernel_plan(const convjit_kernel *kernel);

/** An array of the host's. */
typedef struct convjit_tensor {
  size_t struct_size;
  void *data; /**< not written but as output or packed weights */
  int32_t dtype;
  int32_t rank;
  const int64_t *shape;
  const int64_t *strides; /**< in elements, any sign; NULL: row-major */
} convjit_tensor;

/** Reorders a weight into the form that the kernel reads; once for each weight.
    `packed` has convjit_kernel_info's packed_weight_bytes bytes, aligned to the
    element (64 is faster), and is of use to this kernel alone. */
CONVJIT_API convjit_status convjit_kernel_pack(const convjit_kernel *kernel,
                                               const convjit_tensor *weight,
                                               void *packed,
                                               size_t packed_bytes,
                                               convjit_error **error);

/** One call. Tensors that the kernel does not have are NULL. */
typedef struct convjit_call {
  size_t struct_size;
  const convjit_tensor *input; /**< with grad=input the output's gradient */
  const void *packed_weights;
  const convjit_tensor *grad_output; /**< with grad=weight */
  const convjit_tensor *bias, *residual;
  /** With grad=input the input's gradient, with grad=weight the weight's. Must
      not overlap the others. */
  const convjit_tensor *output;
  /** Memory for this call, any alignment; NULL: the context's allocator. */
  void *scratch;
  size_t scratch_bytes;
  const convjit_executor *executor; /**< NULL: the context's */
} convjit_call;

/** Scratch that convjit_kernel_run needs for these tensors, whose data is not
   looked at, and this executor. 0 for most: strided tensors are copied there,
   weight gradients are summed there. */
CONVJIT_API convjit_status convjit_kernel_scratch_bytes(
    const convjit_kernel *kernel, const convjit_call *call, size_t *bytes,
    convjit_error **error);
/** Runs the layer, returns when the output is written. Tensors may have any
    strides, contiguous ones are used in place, and so is the input of a layer
    made for its strides. Results depend neither on threads nor on strides.
    Errors: a tensor's dtype or shape, an input of other strides than its layer
    was made for, scratch that is too small, no memory, an executor that fails.
 */
CONVJIT_API convjit_status convjit_kernel_run(const convjit_kernel *kernel,
                                              const convjit_call *call,
                                              convjit_error **error);
/** The same for contiguous tensors, the input as the layer's input_strides say,
    without a check of shapes: the shortest way.
    `args->scratch` is ignored. `executor` may be NULL. Not for grad=weight. */
CONVJIT_API convjit_status convjit_kernel_run_dense(
    const convjit_kernel *kernel, const convjit_kernel_args *args,
    const convjit_executor *executor, convjit_error **error);

/*===----------------------------------------------------------------------===*\
|* NVIDIA GPUs: libconvjit only
\*===----------------------------------------------------------------------===*/

/** A GPU of the CUDA driver, which is opened at run time: libcuda.so.1, or what
    CONVJIT_LIBCUDA of the environment names. convjit works in its primary
    context, that of the CUDA runtime, so that the host's memory and streams are
    valid; whatever context is current before a call is so after it. Not for a
    child of fork(). */
typedef struct convjit_device convjit_device;

/** `name` is "cuda:0" and so on. Errors: CONVJIT_STATUS_ENVIRONMENT for no
    driver, no such device, one that is too old (before compute capability
    8.0). */
CONVJIT_API convjit_status convjit_device_open(const char *name,
                                               convjit_device **device,
                                               convjit_error **error);
/** Kernels keep what they need of it. */
CONVJIT_API void convjit_device_release(convjit_device *device);

typedef struct convjit_device_info {
  size_t struct_size;
  int32_t ordinal;
  int32_t compute_capability; /**< 10 * major + minor */
  int32_t multiprocessors, clock_mhz;
  const char *name; /**< lives as long as the device */
} convjit_device_info;

/** Fills in what the caller's struct_size has room for. */
CONVJIT_API convjit_status convjit_device_get_info(const convjit_device *device,
                                                   convjit_device_info *info,
                                                   convjit_error **error);

/** A kernel that is loaded on a device. Immutable; counted references. */
typedef struct convjit_device_kernel convjit_device_kernel;

/** As convjit_compile, for a device and of every CONVJIT_F...; kept in memory.
    Its module is loaded now, once for each device. With grad=weight
    `options->images` is at least 1; there the layer has no mask, with which the
    caller multiplies, and no groups where its window is reversed. The context's
    target does not matter. */
CONVJIT_API convjit_status convjit_device_compile(
    convjit_context *context, const convjit_layer *layer,
    const convjit_compile_options *options, convjit_device *device,
    convjit_device_kernel **kernel, convjit_error **error);
/** Another reference; returns its argument. */
CONVJIT_API convjit_device_kernel *
convjit_device_kernel_retain(convjit_device_kernel *kernel);
/** The last one unloads the code; no launch of it may be in flight. */
CONVJIT_API void convjit_device_kernel_release(convjit_device_kernel *kernel);

typedef struct convjit_device_kernel_info {
  size_t struct_size;
  int32_t rank;  /**< of space */
  int32_t dtype; /**< of every tensor */
  int32_t bias, residual;
  int32_t launches; /**< of a run */
  /** Of a thread, the most of any entry: local memory is what spills. */
  int32_t registers, local_bytes;
  size_t packed_weight_bytes; /**< 0 with grad=weight */
  size_t pointer_alignment;   /**< of every pointer, in bytes */
  int64_t batch_groups;
  double compile_milliseconds; /**< to PTX */
  const char *target; /**< "sm_90"; lives as long as the kernel, and so does */
  const char *ptx;    /**< its code */
  int32_t gradient;   /**< CONVJIT_GRADIENT_... */
  int64_t images;     /**< with grad=weight: of every call */
} convjit_device_kernel_info;

CONVJIT_API convjit_status convjit_device_kernel_get_info(
    const convjit_device_kernel *kernel, convjit_device_kernel_info *info,
    convjit_error **error);
CONVJIT_API const char *
convjit_device_kernel_problem(const convjit_device_kernel *kernel);
CONVJIT_API const char *
convjit_device_kernel_plan(const convjit_device_kernel *kernel);
/** Device memory that a run of `batch` images needs besides its tensors. */
CONVJIT_API convjit_status convjit_device_kernel_scratch_bytes(
    const convjit_device_kernel *kernel, int64_t batch, size_t *bytes,
    convjit_error **error);

/** Reorders a weight into the form that the kernel reads, once for each weight:
    `packed` has packed_weight_bytes bytes. Addresses of device memory
    (CUdeviceptr); `stream` is a CUstream of the primary context, or NULL. Puts
    launches on the stream and returns. Not for grad=weight. */
CONVJIT_API convjit_status convjit_device_kernel_pack(
    const convjit_device_kernel *kernel, uint64_t weight, uint64_t packed,
    void *stream, convjit_error **error);

/** One call: addresses of device memory, 0 for tensors that the kernel does not
    have. Tensors are contiguous in the layer's axis order. */
typedef struct convjit_device_call {
  size_t struct_size;
  uint64_t input; /**< with grad=input the output's gradient */
  uint64_t packed_weights;
  uint64_t bias, residual;
  uint64_t output; /**< may be the residual */
  uint64_t scratch;
  int64_t batch;        /**< images in the input */
  uint64_t grad_output; /**< with grad=weight, which packs into the scratch */
} convjit_device_call;

/** Puts the layer's launches on the stream and returns; allocates, loads and
    waits for nothing, so that a stream under capture takes it. What a kernel
    does wrong shows at the host's next synchronization. */
CONVJIT_API convjit_status convjit_device_kernel_run(
    const convjit_device_kernel *kernel, const convjit_device_call *call,
    void *stream, convjit_error **error);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* CONVJIT_CONVJIT_H */
