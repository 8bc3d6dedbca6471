//===- onednn.cpp - one layer in oneDNN, behind a C interface -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Built as a shared library and called by onednn.py. Data stays in the layer's
// own layout; oneDNN chooses the weights' format, and `packing` says whether
// bringing the weights into it (or, of the weights' gradient, out of it) is
// timed.
//
//===----------------------------------------------------------------------===//

#include <oneapi/dnnl/dnnl.hpp>

#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>

using namespace dnnl;

extern "C" {

/// Mirrored by onednn.py's class Layer.
struct BenchLayer {
  int64_t rank, batch, inChannels, outChannels, groups;
  int64_t in[3], out[3], kernel[3], stride[3], dilation[3], low[3], high[3];
  int64_t transposed, weightGradient, channelsLast, packing;
  int64_t bias, residual, activation;
  double slope;
};
}

namespace {

/// In the order of onednn.py's ACTIVATIONS.
constexpr algorithm activations[] = {algorithm::undef,
                                     algorithm::eltwise_relu,
                                     algorithm::eltwise_relu,
                                     algorithm::eltwise_logistic,
                                     algorithm::eltwise_tanh,
                                     algorithm::eltwise_swish,
                                     algorithm::eltwise_gelu_erf,
                                     algorithm::eltwise_gelu_tanh};

struct Prepared {
  engine cpu{engine::kind::cpu, 0};
  stream queue{cpu};
  /// Layer in, layer out: what the caller's arrays are copied to and from.
  memory data, output, weights;
  /// In the format of oneDNN's choice; the same as `weights` when that is it.
  memory packedWeights;
  primitive main;
  std::unordered_map<int, memory> arguments;
  reorder packing;
  bool packs = false, unpacks = false, timePacking = false;
  std::string implementation;

  void pack() { packing.execute(queue, weights, packedWeights); }
  void unpack() { packing.execute(queue, packedWeights, weights); }
  void call() {
    if (timePacking && packs)
      pack();
    main.execute(queue, arguments);
    if (timePacking && unpacks)
      unpack();
  }
};

memory::dims dims(const int64_t *values, int64_t rank) {
  return memory::dims(values, values + rank);
}

memory::format_tag dataTag(const BenchLayer &layer) {
  using tag = memory::format_tag;
  constexpr tag last[] = {tag::nwc, tag::nhwc, tag::ndhwc};
  constexpr tag first[] = {tag::ncw, tag::nchw, tag::ncdhw};
  return (layer.channelsLast ? last : first)[layer.rank - 1];
}

/// (g,) o, i, space... as the caller has them; a group axis only with groups.
memory::desc weightsDesc(const BenchLayer &layer, bool any) {
  using tag = memory::format_tag;
  memory::dims shape;
  if (layer.groups > 1)
    shape.push_back(layer.groups);
  shape.push_back(layer.outChannels / layer.groups);
  shape.push_back(layer.inChannels / layer.groups);
  for (int64_t i = 0; i < layer.rank; ++i)
    shape.push_back(layer.kernel[i]);
  constexpr tag plain[] = {tag::abc, tag::abcd, tag::abcde, tag::abcdef};
  return {shape, memory::data_type::f32,
          any ? tag::any : plain[shape.size() - 3]};
}

void copyIn(const memory &to, const float *from) {
  std::memcpy(to.get_data_handle(), from, to.get_desc().get_size());
}

primitive_attr epilogue(const BenchLayer &layer, const memory::desc &output) {
  primitive_attr attributes;
  post_ops operations;
  if (layer.residual)
    operations.append_binary(algorithm::binary_add, output);
  if (layer.activation) {
    bool swish = activations[layer.activation] == algorithm::eltwise_swish;
    operations.append_eltwise(activations[layer.activation],
                              swish ? 1.0f : static_cast<float>(layer.slope),
                              0.0f);
  }
  attributes.set_post_ops(operations);
  return attributes;
}

/// The forward primitive's description: `Description` is the one of a
/// convolution or a deconvolution.
template <typename Description>
Description describe(const BenchLayer &layer, engine &cpu, algorithm kind,
                     prop_kind propagation) {
  int64_t r = layer.rank;
  memory::dims input{layer.batch, layer.inChannels};
  memory::dims output{layer.batch, layer.outChannels};
  memory::dims dilation;
  for (int64_t i = 0; i < r; ++i) {
    input.push_back(layer.in[i]);
    output.push_back(layer.out[i]);
    dilation.push_back(layer.dilation[i] - 1);
  }
  auto f32 = memory::data_type::f32;
  memory::desc from(input, f32, dataTag(layer)),
      to(output, f32, dataTag(layer));
  memory::desc bias;
  if (layer.bias)
    bias = {{layer.outChannels}, f32, memory::format_tag::a};
  return Description(cpu, propagation, kind, from, weightsDesc(layer, true),
                     bias, to, dims(layer.stride, r), dilation,
                     dims(layer.low, r), dims(layer.high, r),
                     epilogue(layer, to));
}

void finishForward(Prepared &p, const BenchLayer &layer, const float *input,
                   const float *weights, const float *bias,
                   const float *residual) {
  copyIn(p.data, input);
  copyIn(p.weights, weights);
  p.packs = p.packedWeights.get_desc() != p.weights.get_desc();
  if (p.packs) {
    p.packing = reorder(p.weights, p.packedWeights);
    p.pack();
  } else {
    p.packedWeights = p.weights;
  }
  p.arguments = {{DNNL_ARG_SRC, p.data},
                 {DNNL_ARG_WEIGHTS, p.packedWeights},
                 {DNNL_ARG_DST, p.output}};
  if (layer.bias) {
    memory values(
        {{layer.outChannels}, memory::data_type::f32, memory::format_tag::a},
        p.cpu);
    copyIn(values, bias);
    p.arguments[DNNL_ARG_BIAS] = values;
  }
  if (layer.residual) {
    memory values(p.output.get_desc(), p.cpu);
    copyIn(values, residual);
    p.arguments[DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1] = values;
  }
  p.queue.wait();
}

/// `weights` is the output's gradient here.
template <typename Forward, typename Backward>
void prepareWeightGradient(Prepared &p, const BenchLayer &layer, algorithm kind,
                           const float *input, const float *weights) {
  auto hint = describe<typename Forward::primitive_desc>(
      layer, p.cpu, kind, prop_kind::forward_training);
  int64_t r = layer.rank;
  memory::dims dilation;
  for (int64_t i = 0; i < r; ++i)
    dilation.push_back(layer.dilation[i] - 1);
  typename Backward::primitive_desc description(
      p.cpu, kind, hint.src_desc(), weightsDesc(layer, true), memory::desc(),
      hint.dst_desc(), dims(layer.stride, r), dilation, dims(layer.low, r),
      dims(layer.high, r), hint);
  p.main = Backward(description);
  p.implementation = description.impl_info_str();
  p.data = memory(description.src_desc(), p.cpu);
  memory gradient(description.diff_dst_desc(), p.cpu);
  p.weights = memory(weightsDesc(layer, false), p.cpu);
  p.packedWeights = memory(description.diff_weights_desc(), p.cpu);
  copyIn(p.data, input);
  copyIn(gradient, weights);
  p.unpacks = p.packedWeights.get_desc() != p.weights.get_desc();
  if (p.unpacks)
    p.packing = reorder(p.packedWeights, p.weights);
  else
    p.packedWeights = p.weights;
  p.output = p.weights;
  p.arguments = {{DNNL_ARG_SRC, p.data},
                 {DNNL_ARG_DIFF_DST, gradient},
                 {DNNL_ARG_DIFF_WEIGHTS, p.packedWeights}};
}

template <typename Forward>
void prepareForward(Prepared &p, const BenchLayer &layer, algorithm kind,
                    const float *input, const float *weights, const float *bias,
                    const float *residual) {
  auto description = describe<typename Forward::primitive_desc>(
      layer, p.cpu, kind, prop_kind::forward_inference);
  p.main = Forward(description);
  p.implementation = description.impl_info_str();
  p.data = memory(description.src_desc(), p.cpu);
  p.output = memory(description.dst_desc(), p.cpu);
  p.weights = memory(weightsDesc(layer, false), p.cpu);
  p.packedWeights = memory(description.weights_desc(), p.cpu);
  finishForward(p, layer, input, weights, bias, residual);
}

} // namespace

extern "C" {

/// The layer, ready to run; null with a message in `text` when oneDNN refuses.
/// `text` gets the implementation's name otherwise.
void *bench_prepare(const BenchLayer *layer, const float *input,
                    const float *weights, const float *bias,
                    const float *residual, char *text, size_t textSize) {
  try {
    auto p = std::make_unique<Prepared>();
    p->timePacking = layer->packing;
    bool transposed = layer->transposed;
    algorithm kind = transposed ? algorithm::deconvolution_direct
                                : algorithm::convolution_direct;
    if (layer->weightGradient && transposed)
      prepareWeightGradient<deconvolution_forward,
                            deconvolution_backward_weights>(*p, *layer, kind,
                                                            input, weights);
    else if (layer->weightGradient)
      prepareWeightGradient<convolution_forward, convolution_backward_weights>(
          *p, *layer, kind, input, weights);
    else if (transposed)
      prepareForward<deconvolution_forward>(*p, *layer, kind, input, weights,
                                            bias, residual);
    else
      prepareForward<convolution_forward>(*p, *layer, kind, input, weights,
                                          bias, residual);
    std::snprintf(text, textSize, "%s", p->implementation.c_str());
    return p.release();
  } catch (const std::exception &e) {
    std::snprintf(text, textSize, "%s", e.what());
    return nullptr;
  }
}

/// Seconds that `count` calls took together; negative when one failed.
double bench_run(void *prepared, int64_t count) {
  auto *p = static_cast<Prepared *>(prepared);
  try {
    auto start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < count; ++i)
      p->call();
    p->queue.wait();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         start)
        .count();
  } catch (const std::exception &) {
    return -1;
  }
}

/// Copies the result of the last call, in the layer's layout or, of the
/// weights' gradient, as (g,) o, i, space...
void bench_output(void *prepared, float *to) {
  auto *p = static_cast<Prepared *>(prepared);
  if (p->unpacks)
    p->unpack();
  p->queue.wait();
  std::memcpy(to, p->output.get_data_handle(), p->output.get_desc().get_size());
}

void bench_release(void *prepared) { delete static_cast<Prepared *>(prepared); }

void bench_version(char *text, size_t size) {
  const version_t *v = dnnl::version();
  std::snprintf(text, size, "%d.%d.%d", v->major, v->minor, v->patch);
}
}
