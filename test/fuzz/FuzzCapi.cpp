//===- FuzzCapi.cpp - sequences of calls of the C interface -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// The input is a program: which functions to call, on which handles, with which
// structs. Kernels are ahead-of-time descriptors whose code checks that what it
// is given is what the layer has.

#include "convjit/convjit.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

using namespace convjit::host;

namespace {

/// The bytes that are left; zeros when none are.
class Bytes {
public:
  Bytes(const uint8_t *data, size_t size) : data(data), left(size) {}
  bool any() const { return left > 0; }
  template <typename T> T take() {
    T value{};
    size_t size = std::min(left, sizeof value);
    std::memcpy(&value, data, size);
    data += size;
    left -= size;
    return value;
  }
  /// Mostly small, now and then anything.
  int64_t number() {
    auto kind = take<uint8_t>();
    if (kind == 255)
      return take<int64_t>();
    return kind == 254 ? -1 : kind % 6;
  }
  std::string text() {
    std::string result(std::min<size_t>(left, take<uint8_t>()), ' ');
    for (char &c : result)
      c = take<char>();
    return result;
  }

private:
  const uint8_t *data;
  size_t left;
};

/// Reads the first byte of each tensor that is not empty.
void run(const convjit_kernel_args *args, int64_t begin, int64_t end) {
  if (begin < 0 || begin >= end)
    std::abort();
  *static_cast<volatile char *>(args->output) = 0;
}
void pack(const void *weights, void *packed) {
  std::memcpy(packed, weights, 4);
}

/// A fixed place for the elements of every tensor: strides must not leave it,
/// so tensors here are small or have extents that must be refused.
alignas(64) char arena[1 << 16];

struct Machine {
  Bytes bytes;
  Context context;
  Layer layer;
  Kernel kernel;
  int64_t shape[6] = {}, strides[6] = {};

  void expect(const Result &result) {
    // An error always says something, success nothing.
    if (bool(result) != (*result.message() == 0) ||
        result.status() == CONVJIT_STATUS_INTERNAL)
      std::abort();
  }

  void parse() {
    std::string text = bytes.text();
    // No file is to be read here.
    if (text.find("mask") == std::string::npos)
      expect(call(convjit_layer_parse, text.c_str(), layer.out()));
  }

  void convolution() {
    convjit_convolution conv;
    convjit_convolution_init(&conv, sizeof conv,
                             static_cast<int32_t>(bytes.number()));
    // Any field may be anything.
    for (int changes = bytes.take<uint8_t>() % 16; changes > 0; --changes) {
      auto at =
          bytes.take<uint8_t>() % (offsetof(convjit_convolution, mask) / 8);
      int64_t value = bytes.number();
      std::memcpy(reinterpret_cast<char *>(&conv) + 8 * at, &value, 8);
    }
    // A size beyond the struct would be a lie that no library can see.
    conv.struct_size = std::min(conv.struct_size, sizeof conv);
    expect(call(convjit_layer_create, &conv, layer.out()));
  }

  void askShapes() {
    int64_t sizes[CONVJIT_MAX_RANK];
    int32_t rank = 0;
    expect(call(convjit_layer_shape, layer.get(),
                static_cast<int32_t>(bytes.number()), bytes.number(), sizes,
                &rank));
    convjit_layer_multiplications(layer.get(), bytes.number());
  }

  void makeContext() {
    auto options = make<convjit_context_options>();
    options.cache = static_cast<int32_t>(bytes.number());
    options.threads = static_cast<uint32_t>(bytes.number()) % 3;
    expect(call(convjit_context_create, &options, context.out()));
  }

  void makeKernel() {
    static const char *const problems[] = {
        "conv2d:in=2x3x1,oc=1,k=1", "convT1d:in=4x2,oc=3,k=3,s=2,bias,residual",
        "conv1d:in=5x2,oc=2,k=3,g=2,grad=weight",
        "conv1d:in=4x1,oc=1,k=2,bg=1"};
    convjit_aot_kernel aot{};
    aot.struct_size = bytes.take<uint8_t>() ? sizeof aot : 8;
    aot.problem = problems[bytes.take<uint8_t>() % 4];
    aot.packed_weight_bytes = 4;
    aot.scratch_bytes = bytes.take<uint8_t>();
    aot.tasks_per_image = bytes.take<uint8_t>() % 4;
    aot.batch_groups = 1 + (bytes.take<uint8_t>() == 7);
    aot.pack = pack;
    aot.run = run;
    // Weight gradients have the groups as batch groups.
    if (std::strstr(aot.problem, "g=2"))
      aot.batch_groups = 2;
    expect(call(convjit_kernel_from_aot, context.get(), &aot, kernel.out()));
  }

  /// A tensor of the layer's shape, or of any.
  convjit_tensor tensor() {
    auto made = make<convjit_tensor>();
    made.data = arena + (bytes.take<uint8_t>() % 8 == 1) + sizeof arena / 2;
    made.dtype = bytes.take<uint8_t>() % 16 == 1;
    made.rank = static_cast<int32_t>(bytes.number());
    for (int64_t &size : shape)
      size = bytes.number();
    made.shape = shape;
    if (bytes.take<uint8_t>() % 2) {
      for (int64_t &stride : strides)
        stride = bytes.number();
      made.strides = strides;
    }
    return made;
  }

  /// Scratch sizes of any tensor: nothing is read there.
  void askScratch() {
    convjit_tensor one = tensor();
    auto now = make<convjit_call>();
    now.input = now.output = &one;
    if (bytes.take<uint8_t>() % 2)
      now.bias = now.residual = &one;
    size_t size = 0;
    expect(call(convjit_kernel_scratch_bytes, kernel.get(), &now, &size));
  }

  /// Errors come before the code runs; shapes that are right have little data.
  void runKernel() {
    if (!kernel)
      return expect(call(convjit_kernel_run, nullptr, nullptr));
    convjit_tensor one = tensor();
    // Zero and small strides alone stay inside the arena.
    bool small = true;
    for (int i = 0; i < 6; ++i)
      small &= std::abs(strides[i]) <= 5 && shape[i] <= 5;
    if (!small)
      return;
    auto now = make<convjit_call>();
    now.input = &one;
    now.output = &one;
    now.packed_weights = arena;
    now.grad_output = bytes.take<uint8_t>() % 2 ? &one : nullptr;
    expect(call(convjit_kernel_run, kernel.get(), &now));
    expect(call(convjit_kernel_pack, kernel.get(), &one, arena,
                size_t(bytes.number())));
  }

  void step() {
    switch (bytes.take<uint8_t>() % 10) {
    case 0:
      return parse();
    case 1:
      return convolution();
    case 2:
      return askShapes();
    case 3:
      return makeContext();
    case 4:
      return makeKernel();
    case 5:
      return askScratch();
    case 6:
      return runKernel();
    case 7:
      kernel = share(kernel);
      return;
    case 8:
      context = Context();
      return;
    default:
      double factors[8] = {0, 1, 2};
      if (layer)
        expect(call(convjit_layer_set_mask, layer.get(), factors,
                    size_t(bytes.number()) % 8));
    }
  }
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Machine machine{Bytes(data, size), {}, {}, {}};
  while (machine.bytes.any())
    machine.step();
  return 0;
}
