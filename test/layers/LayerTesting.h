//===- LayerTesting.h - what the layers' tests share -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_LAYERS_LAYERTESTING_H
#define CONVJIT_TEST_LAYERS_LAYERTESTING_H

#include "Elements.h"
#include "convjit/nn/Conv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace convjit::nn {

/// A value that has to be there; the test fails with the error otherwise.
template <typename T> T get(Expected<T> value) {
  if (!value) {
    ADD_FAILURE() << value.error().message;
    std::abort();
  }
  return std::move(*value);
}

/// Expects an error of bad input whose text has all of `parts`.
template <typename Result>
void expectBadInput(const Result &result,
                    const std::vector<std::string> &parts) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::BadInput);
  for (const std::string &part : parts)
    EXPECT_THAT(result.error().message, testing::HasSubstr(part));
  EXPECT_EQ(result.error().message.find('\n'), std::string::npos);
}

/// Has no kernels: for tests of what needs none.
class NoKernels final : public KernelProvider {
public:
  Expected<std::shared_ptr<const Kernel>> kernel(const Convolution &) override {
    return internalError("no kernel in this test");
  }
};

template <typename LayerType>
Expected<LayerType> tryMake(typename LayerType::Arguments arguments) {
  return LayerType::create(std::move(arguments), std::make_shared<NoKernels>());
}

inline Array array(Shape shape, const std::vector<double> &values,
                   DataType dtype = DataType::F32) {
  return narrowed(values, dtype, std::move(shape));
}

inline NamedArrays golden(const std::string &name) {
  return get(readNpz(std::string(GOLDEN_DIR) + "/" + name + ".npz"));
}

/// Whether two arrays have the same type, shape and bits; says where not.
inline testing::AssertionResult sameBits(const Array &a, const Array &b) {
  if (a.dtype != b.dtype || a.shape != b.shape)
    return testing::AssertionFailure()
           << name(a.dtype) << shapeText(a.shape) << " and " << name(b.dtype)
           << shapeText(b.shape);
  if (a.data == b.data)
    return testing::AssertionSuccess();
  std::vector<double> left = widened(a), right = widened(b);
  size_t different = 0, first = left.size();
  for (size_t i = 0; i < left.size(); ++i)
    if (left[i] != right[i] || std::signbit(left[i]) != std::signbit(right[i]))
      first = std::min(first, i), ++different;
  return testing::AssertionFailure()
         << different << " of " << left.size() << " differ, the first at "
         << first << ": " << left[first] << " and " << right[first];
}

/// The same but for the sign of zero.
inline testing::AssertionResult sameValues(const Array &a, const Array &b) {
  if (a.dtype != b.dtype || a.shape != b.shape)
    return sameBits(a, b);
  std::vector<double> left = widened(a), right = widened(b);
  for (size_t i = 0; i < left.size(); ++i)
    if (left[i] != right[i])
      return testing::AssertionFailure()
             << "at " << i << ": " << left[i] << " and " << right[i];
  return testing::AssertionSuccess();
}

/// The largest difference, over the largest value of `b`.
inline double relativeError(const Array &a, const Array &b) {
  EXPECT_EQ(a.shape, b.shape);
  std::vector<double> left = widened(a), right = widened(b);
  double error = 0, size = 1e-30;
  for (size_t i = 0; i < right.size() && i < left.size(); ++i) {
    error = std::max(error, std::abs(left[i] - right[i]));
    size = std::max(size, std::abs(right[i]));
  }
  return error / size;
}

} // namespace convjit::nn

#endif // CONVJIT_TEST_LAYERS_LAYERTESTING_H
