//===- Npy.h - arrays in NumPy files -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// .npy versions 1.0 to 3.0, C order, little-endian f4 and f8, for masks also
// booleans (format: numpy.lib.format's documentation). Reading checks
// everything before it allocates: magic, version, header length, dictionary,
// dtype, order, rank, sizes against the file's length.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_NPY_H
#define CONVJIT_NPY_H

#include "convjit/Convolution.h"
#include "convjit/Error.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace convjit {

/// A contiguous array in row-major (C) order.
struct Array {
  DataType dtype = DataType::F32;
  std::vector<int64_t> shape;
  std::vector<std::byte> data;

  int64_t elements() const;
};

/// What an array that is read may be of: f32 and f64, or f16 and bf16 too.
/// NumPy has no bfloat16; elements of two bytes without a type are taken for
/// it, as which NumPy writes arrays of JAX's.
enum class NpyTypes { ForCPUs, All };

/// Reads one array; errors name the file and what is wrong with it.
Expected<Array> readNpy(const std::string &path,
                        NpyTypes types = NpyTypes::ForCPUs);

/// The same from memory; `what` names the source in errors.
Expected<Array> parseNpy(std::string_view bytes, const std::string &what,
                         NpyTypes types = NpyTypes::ForCPUs);

/// Writes version 1.0, through a temporary file and a rename. Errors: data
/// whose size is not the shape's; then nothing is touched.
Status writeNpy(const std::string &path, const Array &array);

/// The bytes of such a file; `what` names the array in errors.
Expected<std::string> printNpy(const Array &array, const std::string &what);

/// Reads a weight mask, of numbers or of booleans, which become f32: true is a
/// factor of 1, false of 0, an absent weight.
Expected<Array> readMask(const std::string &path);

/// The same from memory; `what` names the source in errors.
Expected<Array> parseMask(std::string_view bytes, const std::string &what);

/// Reads a weight mask and checks its shape against the kernel's.
Expected<std::vector<double>> readMask(const std::string &path,
                                       const Convolution &conv);

/// The same from memory; `what` names the source in errors.
Expected<std::vector<double>> parseMask(std::string_view bytes,
                                        const std::string &what,
                                        const Convolution &conv);

} // namespace convjit

#endif // CONVJIT_NPY_H
