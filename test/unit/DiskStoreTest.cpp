//===- DiskStoreTest.cpp - kernels on disk, under every mishap -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DiskStore.h"
#include "TestDigest.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace convjit;
namespace fs = std::filesystem;

namespace {

constexpr uint64_t megabyte = 1 << 20;
constexpr uid_t nobody = 65534;

class DiskStoreTest : public ::testing::Test {
protected:
  void SetUp() override {
    std::string pattern =
        (fs::temp_directory_path() / "convjit-store-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root = pattern;
    directory = root + "/a/b";
  }
  void TearDown() override { fs::remove_all(root); }

  std::unique_ptr<DiskStore> open(uint64_t maxBytes = megabyte) {
    auto store = DiskStore::open(directory, maxBytes, testDigest);
    EXPECT_TRUE(store) << store.error().message;
    return store ? std::move(*store) : nullptr;
  }
  std::string errorOfOpening() {
    auto store = DiskStore::open(directory, megabyte, testDigest);
    return store ? "" : store.error().message;
  }
  /// An entry's object depends on its key, so that a mix is noticed.
  static StoredKernel entry(const std::string &key, size_t bytes = 1000) {
    StoredKernel kernel;
    kernel.key = key;
    while (kernel.object.size() < bytes)
      kernel.object += key + ".";
    return kernel;
  }
  static std::vector<StoredFile> filesOf(const DiskStore &store) {
    auto files = store.list();
    return files ? *files : std::vector<StoredFile>();
  }
  static std::string fileOf(const std::string &key) {
    return hexOf(testDigest(key)) + ".kernel";
  }
  static bool has(DiskStore &store, const std::string &key,
                  size_t bytes = 1000) {
    auto loaded = store.load(key);
    return loaded && *loaded && **loaded == entry(key, bytes);
  }
  /// Runs `body` in a child process; its answer, or -signal.
  static int inChild(const std::function<int()> &body) {
    pid_t child = fork();
    if (child == 0) {
      int answer = 99;
      try {
        answer = body();
      } catch (...) { // not on with the parent's tests
      }
      _exit(answer);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  std::string root, directory;
};

TEST_F(DiskStoreTest, KeepsKernelsForOthersToFind) {
  auto store = open();
  struct stat info;
  ASSERT_EQ(stat(directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  auto missing = store->load("one");
  ASSERT_TRUE(missing);
  EXPECT_FALSE(*missing);
  ASSERT_TRUE(store->store(entry("one")));
  ASSERT_TRUE(store->store(entry("two")));
  auto other = open();
  EXPECT_TRUE(has(*other, "one"));
  EXPECT_TRUE(has(*other, "two"));
  ASSERT_EQ(stat((directory + "/" + fileOf("one")).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_EQ(other->list()->size(), 2u);
  auto read = other->read(fileOf("one"));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->key, "one");
  EXPECT_FALSE(other->read("../../etc/passwd"));
}

TEST_F(DiskStoreTest, RemovesTheLeastRecentlyUsed) {
  auto store = open(10'000);
  for (const char *key : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
    ASSERT_TRUE(store->store(entry(key)));
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  ASSERT_TRUE(has(*store, "a")); // now b is the oldest
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  for (const char *key : {"i", "j", "k"})
    ASSERT_TRUE(store->store(entry(key)));
  uint64_t total = 0;
  for (const StoredFile &file : filesOf(*store))
    total += file.bytes;
  EXPECT_LE(total, 10'000u);
  EXPECT_TRUE(has(*store, "a"));
  EXPECT_TRUE(has(*store, "k"));
  EXPECT_FALSE(has(*store, "b"));
  // Larger than everything that may be kept.
  Status status = store->store(entry("large", 20'000));
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("larger than the cache may be"),
            std::string::npos);
  EXPECT_TRUE(has(*store, "a"));
}

TEST_F(DiskStoreTest, KeepsItsLimitWhateverOthersWrite) {
  auto one = open(100'000), two = open(100'000);
  for (int i = 0; i < 400; ++i)
    ASSERT_TRUE((i % 2 ? one : two)->store(entry(std::to_string(i))));
  uint64_t total = 0;
  for (const StoredFile &file : filesOf(*one))
    total += file.bytes;
  EXPECT_LE(total, 200'000u); // each within its own count of the others'
  EXPECT_TRUE(one->collect(5'000));
  EXPECT_LE(one->list()->size(), 4u);
}

TEST_F(DiskStoreTest, EveryDamageIsNoticedAndTheEntryGoes) {
  auto store = open();
  ASSERT_TRUE(store->store(entry("one")));
  std::string path = directory + "/" + fileOf("one");
  auto bytes = [&] {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string good = bytes();
  auto refused = [&](const std::string &content) {
    {
      std::ofstream file(path, std::ios::binary);
      file << content;
    }
    auto loaded = store->load("one");
    return !loaded && loaded.error().kind == ErrorKind::Environment &&
           !fs::exists(path);
  };
  for (size_t at = 0; at < good.size(); at += 13) {
    std::string turned = good;
    turned[at] = static_cast<char>(turned[at] ^ 0x10);
    ASSERT_TRUE(refused(turned)) << at;
    ASSERT_TRUE(refused(good.substr(0, at))) << at;
  }
  EXPECT_TRUE(refused(""));
  EXPECT_TRUE(refused("a file of someone's"));
  // A good entry under another's name, as of another CPU.
  EXPECT_TRUE(refused(encodeEntry(entry("other CPU"), testDigest)));
  auto missing = store->load("one");
  ASSERT_TRUE(missing);
  EXPECT_FALSE(*missing);
  ASSERT_TRUE(store->store(entry("one")));
  EXPECT_TRUE(has(*store, "one"));
}

TEST_F(DiskStoreTest, WhatIsNoFileIsRefused) {
  auto store = open();
  std::string path = directory + "/" + fileOf("one");
  ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
  EXPECT_FALSE(store->load("one"));
  EXPECT_FALSE(store->store(entry("one")));
  fs::remove(path);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0); // and nobody waits for its writer
  EXPECT_FALSE(store->load("one"));
  fs::remove(path);
  std::ofstream(root + "/elsewhere") << encodeEntry(entry("one"), testDigest);
  ASSERT_EQ(symlink((root + "/elsewhere").c_str(), path.c_str()), 0);
  EXPECT_FALSE(store->load("one"));
  EXPECT_TRUE(store->store(entry("one"))); // in place of the link
  EXPECT_TRUE(has(*store, "one"));
}

TEST_F(DiskStoreTest, ProcessesMayWriteAtOnce) {
  (void)open();
  pid_t children[4];
  for (int c = 0; c < 4; ++c) {
    children[c] = fork();
    if (children[c] == 0) {
      auto store = DiskStore::open(directory, 20'000, testDigest);
      for (int round = 0; store && round < 200; ++round) {
        std::string key = std::to_string(round % 20);
        if (Status s = (*store)->store(entry(key)); !s)
          _exit(1);
        // Another may have removed it; it is never wrong.
        auto loaded = (*store)->load(key);
        if (!loaded || (*loaded && **loaded != entry(key)))
          _exit(2);
      }
      _exit(store ? 0 : 3);
    }
  }
  for (pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_TRUE(open()->collect(0));
  for (const StoredFile &file : filesOf(*open()))
    EXPECT_TRUE(file.temporary) << file.name;
}

TEST_F(DiskStoreTest, AKilledWriterLeavesNothingThatIsRead) {
  auto store = open();
  std::vector<StoredKernel> entries;
  for (int i = 0; i < 5; ++i)
    entries.push_back(entry(std::to_string(i), 300'000));
  auto countLeft = [&] {
    size_t left = 0;
    for (const StoredFile &file : filesOf(*store))
      left += file.temporary;
    return left;
  };
  size_t left = 0;
  for (int round = 0; round < 30 || (left == 0 && round < 500); ++round) {
    pid_t child = fork();
    if (child == 0) {
      auto own = DiskStore::open(directory, 64 * megabyte, testDigest);
      for (size_t i = 0;; ++i)
        (void)(*own)->store(entries[i % 5]);
    }
    usleep(static_cast<useconds_t>(3000 + round * 137));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    for (const StoredKernel &kernel : entries) {
      auto loaded = store->load(kernel.key);
      ASSERT_TRUE(loaded) << loaded.error().message;
      if (*loaded)
        ASSERT_EQ(**loaded, kernel);
    }
    left = countLeft();
  }
  EXPECT_GT(left, 0u) << "no writer was killed in the middle of a write";
  for (const StoredFile &file : filesOf(*store))
    if (file.temporary) {
      timespec old[2] = {{1000, 0}, {1000, 0}};
      utimensat(AT_FDCWD, (directory + "/" + file.name).c_str(), old, 0);
    }
  ASSERT_TRUE(store->collect(64 * megabyte));
  for (const StoredFile &file : filesOf(*store))
    EXPECT_FALSE(file.temporary);
}

TEST_F(DiskStoreTest, AFileLimitIsAnError) {
  int answer = inChild([&] {
    rlimit limit{500, 500};
    setrlimit(RLIMIT_FSIZE, &limit);
    auto store = DiskStore::open(directory, megabyte, testDigest);
    Status status = (*store)->store(entry("one"));
    return status ||
           status.error().message.find("ulimit -f") == std::string::npos;
  });
  EXPECT_EQ(answer, 0);
  EXPECT_TRUE(open()->list()->empty());
}

TEST_F(DiskStoreTest, AFullDiskIsAnError) {
  int answer = inChild([&] {
    fs::create_directories(directory);
    if (mount("none", directory.c_str(), "tmpfs", 0, "size=64k,mode=0700"))
      return 77;
    int result = 0;
    {
      auto store = DiskStore::open(directory, megabyte, testDigest);
      // The store is full of itself: room is made.
      for (int i = 0; i < 100 && !result; ++i)
        if (!(*store)->store(entry(std::to_string(i), 6000)))
          result = 1;
      if (!has(**store, "99", 6000))
        result = 2;
      // It is full of something else: an error, and what is there stays right.
      std::ofstream filler(directory + "/filler");
      filler << std::string(1 << 20, 'x') << std::flush;
      Status status = (*store)->store(entry("large", 50'000));
      if (status || status.error().kind != ErrorKind::Environment)
        result = 3;
      for (const StoredFile &file : filesOf(**store))
        if (file.temporary || !(*store)->read(file.name))
          result = 4;
    }
    umount2(directory.c_str(), MNT_DETACH);
    return result;
  });
  if (answer == 77)
    GTEST_SKIP() << "this user may not mount a small disk";
  EXPECT_EQ(answer, 0);
}

TEST_F(DiskStoreTest, AReadOnlyDirectoryIsRead) {
  ASSERT_TRUE(open()->store(entry("one")));
  int answer = inChild([&] {
    // Root may write anywhere.
    if (geteuid() == 0) {
      for (const std::string &path :
           {root, root + "/a", directory, directory + "/" + fileOf("one")})
        if (chown(path.c_str(), nobody, nobody))
          return 10;
      if (setresuid(nobody, nobody, nobody))
        return 11;
    }
    chmod(directory.c_str(), 0500);
    auto store = DiskStore::open(directory, megabyte, testDigest);
    if (!store)
      return 1;
    if (!has(**store, "one"))
      return 2;
    Status status = (*store)->store(entry("two"));
    if (status || status.error().message.find("cannot be written to") ==
                      std::string::npos)
      return 3;
    return 0;
  });
  EXPECT_EQ(answer, 0);
  chmod(directory.c_str(), 0700);
}

TEST_F(DiskStoreTest, ADirectoryOfSomeoneElseIsRefused) {
  fs::create_directories(directory);
  chmod(directory.c_str(), 0700);
  if (geteuid() == 0)
    ASSERT_EQ(chown(directory.c_str(), nobody, nobody), 0);
  else
    directory = "/";
  EXPECT_NE(errorOfOpening().find("belongs to user"), std::string::npos)
      << errorOfOpening();
}

TEST_F(DiskStoreTest, ADirectoryThatOthersMayEnterIsRefused) {
  fs::create_directories(directory);
  for (unsigned mode : {0755u, 0701u, 0770u}) {
    chmod(directory.c_str(), mode);
    EXPECT_NE(errorOfOpening().find("valid: 0700"), std::string::npos) << mode;
  }
  chmod(directory.c_str(), 0700);
  EXPECT_EQ(errorOfOpening(), "");
}

TEST_F(DiskStoreTest, WhatIsNoDirectoryIsRefused) {
  directory = "relative/path";
  EXPECT_NE(errorOfOpening().find("absolute"), std::string::npos);
  directory = root + "/file";
  std::ofstream(directory) << "x";
  EXPECT_NE(errorOfOpening(), "");
  directory += "/below";
  EXPECT_NE(errorOfOpening(), "");
  directory = "/proc/convjit";
  EXPECT_NE(errorOfOpening(), "");
}

TEST_F(DiskStoreTest, ClearsNothingButItsOwn) {
  auto store = open();
  ASSERT_TRUE(store->store(entry("one")));
  std::ofstream(directory + "/writing-1-2-3") << "half";
  std::ofstream(directory + "/notes.txt") << "mine";
  auto gone = store->clear();
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->files, 2u);
  EXPECT_TRUE(fs::exists(directory + "/notes.txt"));
  EXPECT_TRUE(store->list()->empty());
  fs::remove_all(directory); // under its feet
  EXPECT_FALSE(store->store(entry("two")));
  auto missing = store->load("one");
  EXPECT_TRUE(missing && !*missing);
}

} // namespace
