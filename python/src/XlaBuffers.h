//===- XlaBuffers.h - what XLA's handlers share -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_PYTHON_XLABUFFERS_H
#define CONVJIT_PYTHON_XLABUFFERS_H

#include "convjit/Convolution.h"
#include "convjit/Error.h"

#include "xla/ffi/api/ffi.h"

namespace convjit::python {

/// Our error as XLA's.
inline xla::ffi::Error xlaError(const Error &error) {
  using xla::ffi::ErrorCode;
  ErrorCode code = ErrorCode::kInternal;
  if (error.kind == ErrorKind::BadInput)
    code = ErrorCode::kInvalidArgument;
  else if (error.kind == ErrorKind::Environment)
    code = ErrorCode::kResourceExhausted;
  return xla::ffi::Error(code, "convjit: " + error.message);
}

inline xla::ffi::DataType xlaType(DataType dtype) {
  switch (dtype) {
  case DataType::F32:
    return xla::ffi::DataType::F32;
  case DataType::F64:
    return xla::ffi::DataType::F64;
  case DataType::F16:
    return xla::ffi::DataType::F16;
  case DataType::BF16:
    break;
  }
  return xla::ffi::DataType::BF16;
}

inline Status checkBuffer(const char *what, const xla::ffi::AnyBuffer &buffer,
                          const std::vector<int64_t> &shape, DataType dtype) {
  auto dims = buffer.dimensions();
  if (dims.size() == shape.size() &&
      std::equal(dims.begin(), dims.end(), shape.begin()) &&
      buffer.element_type() == xlaType(dtype))
    return {};
  return badInput(
      std::string(what) +
      ": shape or dtype is not the convolution's; valid: those that "
      "the attribute convolution says");
}

/// The images in the input, once all three tensors are known to be the
/// convolution's.
inline Expected<int64_t> checkBuffers(const Convolution &conv,
                                      const xla::ffi::AnyBuffer &input,
                                      const xla::ffi::AnyBuffer &weights,
                                      const xla::ffi::AnyBuffer &output) {
  auto dims = input.dimensions();
  if (dims.size() != conv.dims.size() + 2)
    return badInput("input: rank " + std::to_string(dims.size()) +
                    "; valid: " + std::to_string(conv.dims.size() + 2));
  int64_t batch = dims[static_cast<size_t>(conv.numbers.inputBatch)];
  if (batch % conv.batchGroups)
    return badInput("input: a batch of " + std::to_string(batch) +
                    "; valid: multiples of " +
                    std::to_string(conv.batchGroups));
  if (Status s =
          checkBuffer("input", input, conv.inputShape(batch), conv.dtype);
      !s)
    return s.takeError();
  if (Status s =
          checkBuffer("weights", weights, conv.kernelShape(), conv.dtype);
      !s)
    return s.takeError();
  if (Status s =
          checkBuffer("output", output, conv.outputShape(batch), conv.dtype);
      !s)
    return s.takeError();
  return batch;
}

} // namespace convjit::python

#endif // CONVJIT_PYTHON_XLABUFFERS_H
