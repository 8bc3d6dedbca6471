//===- CacheFolder.h - a cache's place on disk, for one test -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_CACHE_CACHEFOLDER_H
#define CONVJIT_TEST_CACHE_CACHEFOLDER_H

#include "convjit/KernelCache.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace convjit {

/// Caches in an empty folder, whatever the environment says of caches.
class CacheFolderTest : public ::testing::Test {
protected:
  void SetUp() override {
    for (const char *name : {"CONVJIT_CACHE", "CONVJIT_CACHE_DIR",
                             "CONVJIT_CACHE_SIZE", "CONVJIT_PTX_WITH_IR"})
      unsetenv(name);
    std::string pattern =
        (std::filesystem::temp_directory_path() / "convjit-cache-XXXXXX")
            .string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    place.directory = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(place.directory); }

  KernelCacheOptions place;
};

} // namespace convjit

#endif // CONVJIT_TEST_CACHE_CACHEFOLDER_H
