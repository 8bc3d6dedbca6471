//===- Module.cpp - the extension module convjit._convjit -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// As little as can be: arrays that are contiguous in the convolution's axis
// orders, or inputs of its strides, and texts. What users see is written in
// Python on top of this.
//
//===----------------------------------------------------------------------===//

#include "ConvolutionText.h"
#include "GPUEngine.h"
#include "Xla.h"
#include "XlaCuda.h"
#include "tools/convjit/Peak.h"

#include "convjit/TensorView.h"
#include "convjit/WeightGradient.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using namespace nb::literals;
using namespace convjit;
using namespace convjit::python;

namespace {

using Array = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using MutableArray = nb::ndarray<nb::c_contig, nb::device::cpu>;
/// Of any strides. (What is not contiguous is copied for the types above.)
using StridedArray = nb::ndarray<nb::ro, nb::device::cpu>;

/// The Python exception that fits: ValueError where the caller can mend it.
[[noreturn]] void raise(const Error &error) {
  if (error.kind == ErrorKind::BadInput)
    throw nb::value_error(error.message.c_str());
  throw std::runtime_error(error.message);
}
template <typename T> T valueOf(Expected<T> expected) {
  if (!expected)
    raise(expected.error());
  return std::move(*expected);
}

template <typename A> TensorView viewOf(const A &array) {
  if (!array.is_valid())
    return {};
  std::vector<int64_t> shape(array.ndim());
  for (size_t axis = 0; axis < shape.size(); ++axis)
    shape[axis] = static_cast<int64_t>(array.shape(axis));
  DataType dtype =
      array.dtype() == nb::dtype<double>() ? DataType::F64 : DataType::F32;
  TensorView view = TensorView::contiguous(const_cast<void *>(array.data()),
                                           dtype, std::move(shape));
  for (size_t axis = 0; axis < view.strides.size(); ++axis)
    view.strides[axis] = array.stride(axis);
  return view;
}

Convolution convolutionOf(std::string_view text,
                          const std::optional<std::vector<double>> &mask) {
  NamedConvolution named = valueOf(parseConvolution(text));
  if (mask)
    named.conv.mask = *mask;
  return named.conv;
}

struct BoundKernel {
  std::shared_ptr<const Kernel> kernel;
};

BoundKernel compile(std::string_view text, const std::string &plan,
                    const std::optional<std::vector<double>> &mask,
                    int64_t images) {
  Convolution conv = convolutionOf(text, mask);
  nb::gil_scoped_release release;
  if (plan.empty())
    return {valueOf(valueOf(kernels())->kernel(conv, images))};
  // A plan by hand is an experiment; it is not kept.
  Kernel made = valueOf(
      valueOf(compiler())->compile(conv, CompileOptions{Target{}, plan}));
  return {std::make_shared<Kernel>(std::move(made))};
}

void pack(const BoundKernel &self, const Array &weights,
          const MutableArray &packed) {
  const Kernel &kernel = *self.kernel;
  TensorView view = viewOf(weights);
  if (view.shape != kernel.conv.kernelShape() ||
      view.dtype != kernel.conv.dtype)
    throw nb::value_error("weights: shape or dtype is not the kernel's");
  if (packed.nbytes() < kernel.packedWeightBytes)
    throw nb::value_error("packed: too few bytes");
  void *to = packed.data();
  nb::gil_scoped_release release;
  packWeights(kernel, view.data, to, *executor());
}

void run(const BoundKernel &self, const StridedArray &input,
         const Array &packed, const MutableArray &output,
         const std::optional<Array> &bias,
         const std::optional<Array> &residual) {
  if (packed.nbytes() < self.kernel->packedWeightBytes)
    throw nb::value_error("packed: too few bytes");
  TensorOperands operands{viewOf(input), bias ? viewOf(*bias) : TensorView(),
                          residual ? viewOf(*residual) : TensorView(),
                          viewOf(output), packed.data()};
  Status done;
  {
    nb::gil_scoped_release release;
    std::shared_ptr<Executor> threads = executor();
    done = runKernel(*self.kernel, operands, *threads);
  }
  if (!done)
    raise(done.error());
}

nb::tuple lowered(std::string_view text, int64_t images) {
  Problem problem = valueOf(parseProblem(text));
  std::string mask = problem.mask;
  if (problem.gradient != Gradient::Weight) {
    Convolution conv = valueOf(lower(problem));
    return nb::make_tuple(printProblem(problem), describe({conv, ""}), mask,
                          "");
  }
  Convolution conv = valueOf(lowerWeightGradient(problem, images));
  Problem layer = problem;
  layer.gradient = Gradient::None;
  Convolution forward = valueOf(lower(layer));
  return nb::make_tuple(printProblem(problem), describe({conv, ""}), mask,
                        describe({forward, ""}));
}

nb::tuple shapes(std::string_view text, int64_t batch) {
  Convolution conv = valueOf(parseConvolution(text)).conv;
  auto tuple = [](const std::vector<int64_t> &shape) {
    nb::list sizes;
    for (int64_t size : shape)
      sizes.append(size);
    return nb::tuple(sizes);
  };
  return nb::make_tuple(tuple(conv.inputShape(batch)),
                        tuple(conv.kernelShape()),
                        tuple(conv.outputShape(batch)));
}

void runGradient(const BoundKernel &self, std::string_view layer,
                 const StridedArray &input, const Array &gradient,
                 const MutableArray &result,
                 const std::optional<std::vector<double>> &mask) {
  Convolution forward = convolutionOf(layer, mask);
  TensorView x = viewOf(input), g = viewOf(gradient), w = viewOf(result);
  auto axis = static_cast<size_t>(forward.numbers.inputBatch);
  int64_t batch = axis < x.shape.size() ? x.shape[axis] : 0;
  for (const TensorView *view : {&x, &g, &w})
    if (view->dtype != forward.dtype)
      throw nb::value_error("dtype is not the layer's");
  if (x.shape != forward.inputShape(batch) ||
      g.shape != forward.outputShape(batch) || w.shape != forward.kernelShape())
    throw nb::value_error("a shape is not the layer's");
  if (forward.inputStrides.empty() ? !x.isContiguous()
                                   : !x.hasStrides(forward.inputStrides))
    throw nb::value_error("input: its strides are not the layer's");
  Status done;
  {
    nb::gil_scoped_release release;
    std::shared_ptr<Executor> threads = executor();
    done = runWeightGradient(*self.kernel, forward, x.data, g.data, batch,
                             *threads, w.data);
  }
  if (!done)
    raise(done.error());
}

nb::object emit(std::string_view text, const std::string &stage,
                const std::string &plan, const std::string &cpu,
                const std::string &features,
                const std::optional<std::string> &problem,
                const std::optional<std::vector<double>> &mask,
                int64_t images) {
  static constexpr const char *names[] = {"conv",  "general", "phases",
                                          "tiles", "linalg",  "vector",
                                          "llvm",  "asm",     "object"};
  auto at = std::find(std::begin(names), std::end(names), stage);
  if (at == std::end(names))
    throw nb::value_error(("stage='" + stage +
                           "': valid: conv, general, phases, tiles, linalg, "
                           "vector, llvm, asm, object")
                              .c_str());
  auto which = static_cast<Stage>(at - std::begin(names));
  Convolution conv = convolutionOf(text, mask);
  std::optional<Problem> layer;
  if (problem)
    layer = valueOf(parseProblem(*problem));
  std::string made;
  {
    nb::gil_scoped_release release;
    CompileOptions options{Target{"", cpu, features}, plan, images};
    made = valueOf(valueOf(compiler())
                       ->emit(conv, which, options, layer ? &*layer : nullptr));
  }
  if (which == Stage::Object)
    return nb::bytes(made.data(), made.size());
  return nb::str(made.data(), made.size());
}

nb::dict planReport(std::string_view text, const std::string &plan,
                    const std::optional<std::vector<double>> &mask,
                    int64_t images) {
  Convolution conv = convolutionOf(text, mask);
  PlanReport report;
  {
    nb::gil_scoped_release release;
    report = valueOf(valueOf(compiler())
                         ->plan(conv, CompileOptions{Target{}, plan, images}));
  }
  nb::list candidates;
  for (const Candidate &candidate : report.candidates) {
    nb::dict entry;
    entry["name"] = candidate.name;
    entry["chosen"] = candidate.chosen;
    entry["reason"] = candidate.reason;
    entry["cycles"] = candidate.cycles;
    candidates.append(entry);
  }
  nb::dict result;
  result["plan"] = report.plan;
  result["candidates"] = candidates;
  result["tasks_per_image"] = report.tasksPerImage;
  result["packed_weight_bytes"] = report.packedWeightBytes;
  result["target"] = report.target;
  return result;
}

nb::dict xlaHandlers() {
  XlaEntryPoints points = xlaEntryPoints();
  nb::dict result;
  result["instantiate"] = nb::capsule(points.instantiate);
  result["execute"] = nb::capsule(points.execute);
  return result;
}

nb::dict xlaCudaHandlers() {
  XlaCudaEntryPoints points = xlaCudaEntryPoints();
  nb::dict result;
  result["instantiate"] = nb::capsule(points.instantiate);
  result["initialize"] = nb::capsule(points.initialize);
  result["execute"] = nb::capsule(points.execute);
  return result;
}

struct BoundGPUKernel {
  std::shared_ptr<const GPUKernel> kernel;
};

BoundGPUKernel compileForGPU(std::string_view text, const std::string &gpu,
                             const std::string &plan, int64_t images) {
  nb::gil_scoped_release release;
  return {valueOf(gpuKernelOf(text, gpu, plan, images))};
}

nb::dict calls(std::string_view text) {
  XlaCalls sums = xlaCalls(text);
  nb::dict result;
  result["calls"] = sums.calls;
  result["ms_total"] = static_cast<double>(sums.nanoseconds) / 1e6;
  result["ms_pack"] = static_cast<double>(sums.packNanoseconds) / 1e6;
  result["ms_min"] = static_cast<double>(sums.shortest) / 1e6;
  return result;
}

} // namespace

NB_MODULE(_convjit, m) {
  m.attr("__version__") = CONVJIT_VERSION;

  nb::class_<BoundKernel>(m, "Kernel")
      .def_prop_ro("convolution",
                   [](const BoundKernel &self) {
                     return describe({self.kernel->conv, ""});
                   })
      .def_prop_ro("plan",
                   [](const BoundKernel &self) { return self.kernel->plan; })
      .def_prop_ro("compile_ms",
                   [](const BoundKernel &self) {
                     return self.kernel->compileMilliseconds;
                   })
      .def_prop_ro(
          "code_bytes",
          [](const BoundKernel &self) { return self.kernel->codeBytes; })
      .def_prop_ro("packed_weight_bytes",
                   [](const BoundKernel &self) {
                     return self.kernel->packedWeightBytes;
                   })
      .def(
          "xla_scratch_bytes",
          [](const BoundKernel &self, int64_t batch) {
            return xlaScratchBytes(*self.kernel, batch);
          },
          "batch"_a)
      .def_prop_ro(
          "tasks_per_image",
          [](const BoundKernel &self) { return self.kernel->tasksPerImage; })
      .def(
          "input_shape",
          [](const BoundKernel &self, int64_t batch) {
            return self.kernel->conv.inputShape(batch);
          },
          "batch"_a)
      .def("weight_shape",
           [](const BoundKernel &self) {
             return self.kernel->conv.kernelShape();
           })
      .def(
          "output_shape",
          [](const BoundKernel &self, int64_t batch) {
            return self.kernel->conv.outputShape(batch);
          },
          "batch"_a)
      .def("pack", &pack, "weights"_a, "packed"_a)
      .def("run", &run, "input"_a, "packed"_a, "output"_a,
           "bias"_a = nb::none(), "residual"_a = nb::none())
      .def("run_weight_gradient", &runGradient, "layer"_a, "input"_a,
           "gradient"_a, "result"_a, "mask"_a = nb::none());

  nb::class_<BoundGPUKernel>(m, "GPUKernel")
      .def_prop_ro("plan",
                   [](const BoundGPUKernel &self) { return self.kernel->plan; })
      .def_prop_ro("gpu",
                   [](const BoundGPUKernel &self) { return self.kernel->chip; })
      .def_prop_ro("ptx",
                   [](const BoundGPUKernel &self) { return self.kernel->ptx; })
      .def_prop_ro("compile_ms",
                   [](const BoundGPUKernel &self) {
                     return self.kernel->compileMilliseconds;
                   })
      .def_prop_ro("packed_weight_bytes",
                   [](const BoundGPUKernel &self) {
                     return self.kernel->packedWeightBytes;
                   })
      .def(
          "scratch_bytes",
          [](const BoundGPUKernel &self, int64_t batch) {
            return scratchBytes(*self.kernel, batch);
          },
          "batch"_a);

  m.def("compile", &compile, "convolution"_a, "plan"_a = "",
        "mask"_a = nb::none(), "images"_a = 0);
  m.def("lower", &lowered, "problem"_a, "images"_a = 0);
  m.def("shapes", &shapes, "convolution"_a, "batch"_a);
  m.def("emit", &emit, "convolution"_a, "stage"_a, "plan"_a = "", "cpu"_a = "",
        "features"_a = "", "problem"_a = nb::none(), "mask"_a = nb::none(),
        "images"_a = 0);
  m.def("plan_report", &planReport, "convolution"_a, "plan"_a = "",
        "mask"_a = nb::none(), "images"_a = 0);
  m.def(
      "macs",
      [](std::string_view text, int64_t batch,
         const std::optional<std::vector<double>> &mask) {
        return countMacs(convolutionOf(text, mask), batch);
      },
      "convolution"_a, "batch"_a, "mask"_a = nb::none());
  m.def(
      "peak_gflops",
      [](const std::string &dtype) {
        return cli::measurePeakGflops(dtype == "f64" ? DataType::F64
                                                     : DataType::F32,
                                      valueOf(vectorUnits({})));
      },
      "dtype"_a, nb::call_guard<nb::gil_scoped_release>());
  m.def("set_threads", &setThreads, "threads"_a,
        nb::call_guard<nb::gil_scoped_release>());
  m.def("threads", [] { return executor()->concurrency(); });
  m.def("compilations", [] { return compilations() + gpuCompilations(); });
  m.def("cache_place", &cachePlace);
  m.def("compile_gpu", &compileForGPU, "convolution"_a, "gpu"_a, "plan"_a = "",
        "images"_a = 0);
  m.def(
      "gpu_for", [](int capability) { return valueOf(gpuFor(capability)); },
      "compute_capability"_a);
  m.def("xla_handlers", &xlaHandlers);
  m.def("xla_cuda_handlers", &xlaCudaHandlers);
  m.def("xla_calls", &calls, "convolution"_a);
}
