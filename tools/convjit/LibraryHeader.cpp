//===- LibraryHeader.cpp - a library of kernels as a C header -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AotHeaderText.h"
#include "LibraryText.h"

#include <algorithm>
#include <sstream>

using namespace convjit;
using namespace convjit::cli;

namespace {

/// Text for a comment: a mask's path must neither end nor begin one.
std::string comment(std::string text) {
  for (const char *mark : {"*/", "/*"})
    for (size_t at; (at = text.find(mark)) != std::string::npos;)
      text.insert(at + 1, " ");
  return text;
}

const char *elementOf(const Convolution &conv) {
  return conv.dtype == DataType::F32 ? "float" : "double";
}

/// "[batch][8][16]" of a shape whose `batchAxis` is the batch, or has none.
std::string indices(const std::vector<int64_t> &shape, int64_t batchAxis) {
  std::string text;
  for (size_t axis = 0; axis < shape.size(); ++axis)
    text += static_cast<int64_t>(axis) == batchAxis
                ? "[batch]"
                : "[" + std::to_string(shape[axis]) + "]";
  return text;
}

class HeaderWriter {
public:
  HeaderWriter(const Library &library, const std::vector<Layer> &layers)
      : library(library), layers(layers) {}

  std::string write() {
    std::string guard = "CONVJIT_KERNELS_" + library.prefix + "_H";
    out << "/* Convolution kernels for";
    for (const LibraryTarget &target : library.targets)
      out << (&target == &library.targets[0] ? " " : ", ") << target.cpu;
    out << ",\n   compiled ahead of time by convjit " << CONVJIT_VERSION
        << ". Generated; do not edit. */\n#ifndef " << guard << "\n#define "
        << guard << "\n\n"
        << aotHeaderText << R"(
#ifdef __cplusplus
extern "C" {
#endif

/* Every function that returns a kernel returns NULL where this machine can run
   none of those it chooses from, and always the same one in a process. Weights
   are packed for one kernel: pack with the kernel that is run. */

/* The best kernel of the layer with this text, one of the problems below. */
const convjit_aot_kernel *)"
        << library.prefix << "_find(const char *problem);\n";
    for (size_t l = 0; l < layers.size(); ++l)
      writeLayer(l);
    out << "\n#ifdef __cplusplus\n} /* extern \"C\" */\n#endif\n\n#endif /* "
        << guard << " */\n";
    return out.str();
  }

private:
  void writeLayer(size_t l) {
    const Layer &layer = layers[l];
    const LibraryLayer &item = library.layers[l];
    bool gradient = layer.isWeightGradient();
    const Convolution &conv = gradient ? layer.forward : layer.conv;
    std::string full = library.prefix + "_" + item.name;
    std::string type = elementOf(conv);
    auto tensor = [&](const char *what, const std::vector<int64_t> &shape,
                      int64_t batchAxis) {
      out << " *   " << what << type << indices(shape, batchAxis) << "\n";
    };
    out << "\n/* " << comment(item.problem) << "\n *\n";
    tensor("input    ", conv.inputShape(1), conv.numbers.inputBatch);
    if (!conv.inputStrides.empty())
      out << " *   with gaps: " << shapeText(conv.inputStrides)
          << " elements from one index of each of its axes to the next\n";
    if (gradient) {
      tensor("output's gradient   ", conv.outputShape(1),
             conv.numbers.outputBatch);
      tensor("weights' gradient   ", conv.kernelShape(), -1);
    } else {
      tensor("weights  ", conv.kernelShape(), -1);
      if (conv.bias)
        tensor("bias     ", {conv.outChannels}, -1);
      if (conv.residual)
        tensor("residual ", conv.outputShape(1), conv.numbers.outputBatch);
      tensor("output   ", conv.outputShape(1), conv.numbers.outputBatch);
    }
    writeWeightLayout(layer);
    if (conv.batchGroups > 1)
      out << " * The output has a batch of 1/" << conv.batchGroups
          << " of the input's.\n";
    out << " */\n";
    auto size = [&](const char *what, int64_t value) {
      out << "#define " << full << "_" << what << " INT64_C(" << value << ")\n";
    };
    // With gaps, all from the first element to the last.
    size("INPUT_ELEMENTS", conv.inputSpan(1).elements());
    size("WEIGHT_ELEMENTS", elementCount(conv.kernelShape()));
    size("OUTPUT_ELEMENTS", elementCount(conv.outputShape(conv.batchGroups)));
    size_t packed = 0;
    for (const LibraryKernel &kernel : library.kernels)
      if (kernel.layer == l)
        packed = std::max(packed, kernel.packedWeightBytes);
    out << "/* The largest of all kernels' packed_weight_bytes. */\n";
    size("PACKED_BYTES", static_cast<int64_t>(packed));
    for (const LibraryKernel &kernel : library.kernels)
      if (kernel.layer == l)
        out << "extern const convjit_aot_kernel " << kernel.symbol << ";\n";
    out << "/* The best of them; then the one for a CPU of this name, if it "
           "can "
           "run. */\n"
        << "const convjit_aot_kernel *" << full << "_kernel(void);\n"
        << "const convjit_aot_kernel *" << full
        << "_kernel_for(const char *cpu);\n";
    if (gradient)
      writeGradient(layer, full, !item.mask.empty());
  }

  /// The weight's axes by their names, and where the window is reversed.
  void writeWeightLayout(const Layer &layer) {
    const Convolution &conv =
        layer.isWeightGradient() ? layer.forward : layer.conv;
    const DimensionNumbers &n = conv.numbers;
    std::vector<std::string> axes(conv.kernelShape().size());
    for (size_t i = 0; i < n.kernelSpatial.size(); ++i)
      axes[n.kernelSpatial[i]] = "k" + std::to_string(i);
    axes[n.kernelInputFeature] = conv.kernelFeaturesSwapped ? "input channels"
                                 : conv.groups > 1 ? "input channels of a group"
                                                   : "input channels";
    axes[n.kernelOutputFeature] = conv.kernelFeaturesSwapped
                                      ? "output channels of a group"
                                      : "output channels";
    out << " * The axes of the weights are";
    for (size_t i = 0; i < axes.size(); ++i)
      out << (i ? ", " : " ") << axes[i];
    bool reversed = std::any_of(conv.dims.begin(), conv.dims.end(),
                                [](auto &dim) { return dim.reversed; });
    out << ".\n";
    if (layer.problem && layer.problem->gradient == Gradient::Input)
      out << " * The input is the gradient of the layer's output, the output "
             "that of its input,\n * and the weights are the layer's own.\n";
    if (reversed)
      out << " * Taps are applied from the last to the first, as transposed "
             "layers store them.\n";
  }

  void writeGradient(const Layer &layer, const std::string &full, bool masked) {
    const Convolution &conv = layer.forward;
    std::string type = elementOf(conv);
    if (masked)
      out << "extern const double " << full << "_mask["
          << elementCount(conv.kernelShape()) << "];\n";
    out << R"(/* Writes the gradient of the weights, summed over `batch` images, to `result`.
   `packed` has kernel->packed_weight_bytes bytes, `work` twice
   )" << full
        << R"(_WEIGHT_ELEMENTS elements; both belong to the call. For
   threads of your own, share out the tasks of each image's call as below. */
static inline void )"
        << full
        << "_weight_gradient(\n    const convjit_aot_kernel *kernel, "
           "const "
        << type << " *input,\n    const " << type
        << " *output_gradient, int64_t batch, void *packed,\n    " << type
        << " *work, " << type << " *result) {\n"
        << "  const int64_t weights = " << full << "_WEIGHT_ELEMENTS;\n  "
        << type << " *sum = work, *next = work + weights, *swap;\n"
        << "  convjit_kernel_args args = {0, 0, 0, 0, 0, 0, 0};\n"
        << "  int64_t image, from = 0, to";
    std::vector<int64_t> shape = conv.kernelShape();
    for (size_t axis = 0; axis < shape.size(); ++axis)
      out << ", i" << axis;
    out << ";\n  for (to = 0; to < weights; ++to)\n    sum[to] = 0;\n"
        << "  /* One image's input channels are the batch; its output's "
           "gradient is the\n     weight. The kernel adds to the sum of the "
           "images before it. */\n"
        << "  for (image = 0; image < batch; ++image) {\n"
        << "    kernel->pack(output_gradient + image * " << full
        << "_OUTPUT_ELEMENTS, packed);\n"
        << "    args.input = input + image * " << full << "_INPUT_ELEMENTS;\n"
        << "    args.packed_weights = packed;\n    args.residual = sum;\n"
        << "    args.output = next;\n    args.batch = " << conv.inChannels
        << ";\n    convjit_aot_run(kernel, &args);\n"
        << "    swap = sum;\n    sum = next;\n    next = swap;\n  }\n"
        << "  /* From the window's order of taps to the stored one. */\n";
    for (size_t axis = 0; axis < shape.size(); ++axis)
      out << "  for (i" << axis << " = 0; i" << axis << " < " << shape[axis]
          << "; ++i" << axis << ")\n";
    out << "  {\n    to = " << position(conv) << ";\n";
    if (masked)
      out << "    result[to] = " << full << "_mask[to] == 0 ? 0 : sum[from] * ("
          << type << ")" << full << "_mask[to];\n    ++from;\n";
    else
      out << "    result[to] = sum[from++];\n";
    out << "  }\n}\n";
  }

  /// Where element (i0, i1, ...) in window order is stored, as C.
  static std::string position(const Convolution &conv) {
    std::vector<int64_t> shape = conv.kernelShape();
    std::string text = "0";
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      std::string index = "i" + std::to_string(axis);
      for (size_t i = 0; i < conv.dims.size(); ++i)
        if (conv.dims[i].reversed &&
            conv.numbers.kernelSpatial[i] == static_cast<int64_t>(axis))
          index = "(" + std::to_string(shape[axis] - 1) + " - " + index + ")";
      text = axis == 0 ? index
                       : "(" + text + ") * " + std::to_string(shape[axis]) +
                             " + " + index;
    }
    return text;
  }

  const Library &library;
  const std::vector<Layer> &layers;
  std::ostringstream out;
};

} // namespace

std::string convjit::cli::libraryHeader(const Library &library,
                                        const std::vector<Layer> &layers) {
  return HeaderWriter(library, layers).write();
}
