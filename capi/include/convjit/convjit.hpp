//===- convjit.hpp - the C interface with destructors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// For C++17 and later; a header alone, so that no C++ type crosses the border
// of the library and any compiler and standard library will do. Handles are
// move-only (kernels are copied by reference count); errors are values.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CONVJIT_HPP
#define CONVJIT_CONVJIT_HPP

#include "convjit/convjit.h"

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace convjit::host {

/// A status and its text.
class [[nodiscard]] Result {
public:
  Result() = default;
  /// Takes the error over.
  Result(convjit_status status, convjit_error *owned)
      : code(status), error(owned, convjit_error_release) {}

  explicit operator bool() const { return code == CONVJIT_OK; }
  convjit_status status() const { return code; }
  /// "" on success.
  const char *message() const { return convjit_error_message(error.get()); }

private:
  convjit_status code = CONVJIT_OK;
  std::shared_ptr<convjit_error> error{nullptr, convjit_error_release};
};

/// Calls a function of the C interface with its last argument.
template <typename Function, typename... Args>
Result call(Function function, Args... args) {
  convjit_error *error = nullptr;
  convjit_status status = function(args..., &error);
  return Result(status, error);
}

/// A handle that is released once.
template <typename T, void (*Release)(T *)> class Handle {
public:
  Handle() = default;
  explicit Handle(T *owned) : handle(owned) {}
  Handle(Handle &&other) noexcept
      : handle(std::exchange(other.handle, nullptr)) {}
  Handle &operator=(Handle &&other) noexcept {
    std::swap(handle, other.handle);
    return *this;
  }
  ~Handle() { Release(handle); }

  T *get() const { return handle; }
  explicit operator bool() const { return handle; }
  /// Where a function stores a new handle; the old one is released.
  T **out() {
    Release(std::exchange(handle, nullptr));
    return &handle;
  }

private:
  T *handle = nullptr;
};

using Context = Handle<convjit_context, convjit_context_release>;
using Layer = Handle<convjit_layer, convjit_layer_release>;
using Kernel = Handle<convjit_kernel, convjit_kernel_release>;
using Device = Handle<convjit_device, convjit_device_release>;
using DeviceKernel =
    Handle<convjit_device_kernel, convjit_device_kernel_release>;
using Text = Handle<convjit_text, convjit_text_release>;

/// Another reference.
inline Kernel share(const Kernel &kernel) {
  return Kernel(convjit_kernel_retain(kernel.get()));
}

/// T with its struct_size, all else zero.
template <typename T> T make() {
  T value{};
  value.struct_size = sizeof(T);
  return value;
}

/// Shape and strides of an array that is somebody else's.
class Tensor {
public:
  /// Row-major.
  template <typename T>
  Tensor(T *data, std::vector<int64_t> shape) : sizes(std::move(shape)) {
    using Element = std::remove_const_t<T>;
    static_assert(std::is_same_v<Element, float> ||
                      std::is_same_v<Element, double>,
                  "tensors are of float or double");
    tensor = make<convjit_tensor>();
    tensor.data = const_cast<Element *>(data);
    tensor.dtype = std::is_same_v<Element, double> ? CONVJIT_F64 : CONVJIT_F32;
  }
  /// Strides are in elements.
  template <typename T>
  Tensor(T *data, std::vector<int64_t> shape, std::vector<int64_t> strides)
      : Tensor(data, std::move(shape)) {
    steps = std::move(strides);
  }
  /// Lives as long as this object and its place.
  const convjit_tensor *get() {
    tensor.rank = static_cast<int32_t>(sizes.size());
    tensor.shape = sizes.data();
    tensor.strides = steps.empty() ? nullptr : steps.data();
    return &tensor;
  }

private:
  convjit_tensor tensor{};
  std::vector<int64_t> sizes, steps;
};

/// The shape of a tensor of a layer; empty where the layer has none such.
inline std::vector<int64_t> shapeOf(const Layer &layer, int32_t tensor,
                                    int64_t batch) {
  int64_t shape[CONVJIT_MAX_RANK];
  int32_t rank = 0;
  if (convjit_layer_shape(layer.get(), tensor, batch, shape, &rank, nullptr))
    return {};
  return std::vector<int64_t>(shape, shape + rank);
}

} // namespace convjit::host

#endif // CONVJIT_CONVJIT_HPP
