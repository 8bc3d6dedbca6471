//===- LibraryManifest.cpp - a library of kernels as JSON -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LibraryText.h"

using namespace convjit;
using namespace convjit::cli;

std::string convjit::cli::archiveName(const Library &library) {
  return "lib" + library.prefix + ".a";
}
std::string convjit::cli::headerName(const Library &library) {
  return library.prefix + ".h";
}
std::string convjit::cli::manifestName(const Library &library) {
  return library.prefix + ".json";
}

static Json kernelOf(const Library &library, const LibraryKernel &kernel) {
  return {{"target", library.targets[kernel.target].cpu},
          {"symbol", kernel.symbol},
          {"object", kernel.object},
          {"plan", kernel.plan},
          {"tasks_per_image", kernel.tasksPerImage},
          {"packed_weight_bytes", kernel.packedWeightBytes},
          {"scratch_bytes", kernel.scratchBytes},
          {"code_bytes", kernel.codeBytes},
          {"calls", kernel.calls}};
}

Json convjit::cli::libraryManifest(const Library &library,
                                   const std::vector<Layer> &layers) {
  Json targets = Json::array(), kernels = Json::array(),
       objects = Json::array();
  for (const LibraryTarget &target : library.targets)
    targets.push_back({{"cpu", target.cpu},
                       {"triple", target.triple},
                       {"features", target.features},
                       {"sve_bits", target.sveBits}});
  for (size_t l = 0; l < layers.size(); ++l) {
    const LibraryLayer &item = library.layers[l];
    const Layer &layer = layers[l];
    const Convolution &conv =
        layer.isWeightGradient() ? layer.forward : layer.conv;
    std::string full = library.prefix + "_" + item.name;
    Json variants = Json::array();
    for (const LibraryKernel &kernel : library.kernels)
      if (kernel.layer == l)
        variants.push_back(kernelOf(library, kernel));
    kernels.push_back(
        {{"name", item.name},
         {"problem", item.problem},
         {"dtype", name(conv.dtype)},
         {"dispatch", full + "_kernel"},
         {"mask", item.mask.empty() ? Json() : Json(full + "_mask")},
         {"input_shape", conv.inputShape(conv.batchGroups)},
         {"weight_shape", conv.kernelShape()},
         {"output_shape", conv.outputShape(conv.batchGroups)},
         {"batch_groups", item.conv.batchGroups},
         {"variants", variants}});
  }
  for (const LibraryObject &object : library.objects)
    objects.push_back({{"name", object.name},
                       {"bytes", object.bytes.size()},
                       {"sha256", object.sha256}});
  return {{"convjit_version", CONVJIT_VERSION},
          {"prefix", library.prefix},
          {"header", headerName(library)},
          {"find", library.prefix + "_find"},
          {"targets", targets},
          {"kernels", kernels},
          {"archive",
           {{"name", archiveName(library)},
            {"bytes", library.archive.size()},
            {"sha256", library.archiveSha256}}},
          {"objects", objects}};
}
