//===- Npz.h - several arrays in one file -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// NumPy's .npz: a zip archive of .npy files. Written as numpy.savez does, not
// compressed; read compressed or not. Archives come from anywhere: whatever
// they hold, reading gives arrays or an error.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_NN_NPZ_H
#define CONVJIT_NN_NPZ_H

#include "convjit/Npy.h"

#include <map>
#include <string>
#include <string_view>

namespace convjit::nn {

using NamedArrays = std::map<std::string, Array>;

/// Most bytes of one array, decompressed, that are read by default: a small
/// file can claim to hold petabytes.
inline constexpr size_t maxNpzArrayBytes = size_t(1) << 34;

/// Reads all arrays; their names are those of the files without ".npy". Errors
/// name the file, the array and what is wrong: no zip archive, damaged (each
/// array's checksum is checked), encrypted, not a .npy file, two of one name,
/// more than `maxBytes` in one array, no memory.
Expected<NamedArrays> readNpz(const std::string &path,
                              size_t maxBytes = maxNpzArrayBytes);

/// The same from memory; `what` names the source in errors.
Expected<NamedArrays> parseNpz(std::string_view bytes, const std::string &what,
                               size_t maxBytes = maxNpzArrayBytes);

/// Writes through a temporary file and a rename. The same arrays give the same
/// bytes. Errors: a name that is empty or has a NUL, data whose size is not the
/// shape's, and the system's.
Status writeNpz(const std::string &path, const NamedArrays &arrays);

} // namespace convjit::nn

#endif // CONVJIT_NN_NPZ_H
