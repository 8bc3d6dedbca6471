//===- DiskStore.cpp - kernels on disk -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DiskStore.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace convjit;

namespace {

constexpr std::string_view suffix = ".kernel";
constexpr std::string_view temporaryPrefix = "writing-";
constexpr size_t nameBytes = 64 + suffix.size();
/// No kernel comes near; a file that is larger is none.
constexpr int64_t maxEntryBytes = int64_t(64) << 20;
constexpr int64_t temporarySeconds = 600;

/// Closes a descriptor.
struct File {
  ~File() {
    if (descriptor >= 0)
      ::close(descriptor);
  }
  /// Whether all that was written has arrived, as far as closing tells.
  bool close() { return ::close(std::exchange(descriptor, -1)) == 0; }
  int descriptor;
};

Error fileError(const std::string &path, const char *what, int code = errno) {
  // Not strerror, which threads share.
  char buffer[128];
  return environmentError(path + ": " + what + ": " +
                          strerror_r(code, buffer, sizeof buffer));
}

int64_t nanoseconds(const timespec &time) {
  return int64_t(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

bool isEntry(std::string_view name) {
  return name.size() == nameBytes && name.ends_with(suffix) &&
         name.find_first_not_of("0123456789abcdef") == 64;
}
bool isTemporary(std::string_view name) {
  return name.starts_with(temporaryPrefix);
}

Status makeDirectories(const std::string &path) {
  for (size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) {
      int code = errno;
      struct stat info;
      // A parent on a read-only disk says EROFS though it is there.
      if (::stat(part.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
        return fileError(part, "cannot be made", code);
    }
    if (at == std::string::npos)
      return {};
  }
}

} // namespace

Expected<std::unique_ptr<DiskStore>>
DiskStore::open(const std::string &directory, uint64_t maxBytes,
                DigestFn digest) {
  if (directory.empty() || directory[0] != '/' ||
      directory.find('\0') != std::string::npos)
    return badInput("cache directory '" + directory +
                    "': valid: an absolute path");
  if (Status s = makeDirectories(directory); !s)
    return s.takeError();
  File folder{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.descriptor < 0)
    return fileError(directory, "cannot be opened as a directory");
  struct stat info;
  if (::fstat(folder.descriptor, &info) != 0)
    return fileError(directory, "cannot be examined");
  if (info.st_uid != ::geteuid())
    return environmentError(
        directory + ": belongs to user " + std::to_string(info.st_uid) +
        "; valid: a directory of user " + std::to_string(::geteuid()));
  if (info.st_mode & 077) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", info.st_mode & 07777);
    return environmentError(directory + ": has mode " + mode +
                            "; valid: 0700, since what lies in it is run");
  }
  auto *store = new DiskStore(directory, folder.descriptor, maxBytes, digest);
  folder.descriptor = -1;
  return std::unique_ptr<DiskStore>(store);
}

DiskStore::~DiskStore() { ::close(folder); }

std::string DiskStore::nameOf(const std::string &key) const {
  return hexOf(digest(key)).append(suffix);
}

/// With errno ENOENT when there is no such file.
Expected<std::string> DiskStore::readBytes(const std::string &name,
                                           bool touch) const {
  File file{::openat(folder, name.c_str(),
                     O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)};
  if (file.descriptor < 0) {
    int code = errno;
    Error error = fileError(path + "/" + name, "cannot be opened", code);
    errno = code;
    return error;
  }
  errno = 0;
  struct stat info;
  if (::fstat(file.descriptor, &info) != 0)
    return fileError(path + "/" + name, "cannot be examined");
  if (!S_ISREG(info.st_mode) || info.st_uid != ::geteuid() ||
      info.st_size > maxEntryBytes)
    return environmentError(path + "/" + name +
                            ": is not a file of this user's, or too large");
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t got =
        ::read(file.descriptor, bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fileError(path + "/" + name, "cannot be read");
    if (got == 0)
      break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  // The time of writing stands for the time of use. On a read-only disk it
  // stays what it was.
  if (touch)
    (void)::futimens(file.descriptor, nullptr);
  return bytes;
}

Expected<std::optional<StoredKernel>> DiskStore::load(const std::string &key) {
  std::string name = nameOf(key);
  errno = 0;
  Expected<std::string> bytes = readBytes(name, /*touch=*/true);
  if (!bytes && errno == ENOENT)
    return std::optional<StoredKernel>();
  if (!bytes)
    return bytes.takeError();
  Expected<StoredKernel> kernel = decodeEntry(*bytes, digest);
  Error error;
  if (!kernel)
    error = kernel.takeError();
  else if (kernel->key != key)
    error = environmentError("is the kernel of another layer, CPU or compiler");
  else
    return std::optional<StoredKernel>(std::move(*kernel));
  (void)::unlinkat(folder, name.c_str(), 0);
  return environmentError(path + "/" + name + ": " + error.message);
}

Status DiskStore::write(const std::string &name,
                        const std::string &bytes) const {
  // The system would end the process, not only refuse.
  rlimit fileSize;
  if (::getrlimit(RLIMIT_FSIZE, &fileSize) == 0 &&
      bytes.size() > fileSize.rlim_cur)
    return environmentError(path + ": an entry of " +
                            std::to_string(bytes.size()) +
                            " bytes is larger than files may be (ulimit -f)");
  static std::atomic<uint64_t> counter{0};
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  // Process ids repeat between containers that share a directory.
  std::string temporary = std::string(temporaryPrefix) +
                          std::to_string(::getpid()) + "-" +
                          std::to_string(nanoseconds(now)) + "-" +
                          std::to_string(counter.fetch_add(1));
  File file{::openat(folder, temporary.c_str(),
                     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                     0600)};
  if (file.descriptor < 0)
    return fileError(path, "cannot be written to");
  auto fail = [&](int code) {
    (void)::unlinkat(folder, temporary.c_str(), 0);
    return fileError(path, "an entry cannot be written", code);
  };
  for (size_t done = 0; done < bytes.size();) {
    ssize_t put =
        ::write(file.descriptor, bytes.data() + done, bytes.size() - done);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return fail(put < 0 ? errno : ENOSPC);
    done += static_cast<size_t>(put);
  }
  // Not flushed to the disk: what a power cut leaves fails its checksum.
  if (!file.close())
    return fail(errno);
  if (::renameat(folder, temporary.c_str(), folder, name.c_str()) != 0)
    return fail(errno);
  return {};
}

/// Keeps the directory within its limit. Counting it costs a system call for
/// each file, so it is done when the estimate says so, and now and then, since
/// other processes write too.
void DiskStore::makeRoom(uint64_t bytes) {
  std::unique_lock lock(mutex);
  if (untilCount > 0 && estimate + bytes <= limit) {
    --untilCount;
    estimate += bytes;
    return;
  }
  untilCount = 64;
  estimate = 0;
  if (Expected<std::vector<StoredFile>> files = list())
    for (const StoredFile &file : *files)
      estimate += file.bytes;
  if (estimate + bytes > limit) {
    // A tenth more, so that the next entry does not count again.
    uint64_t keep = limit - limit / 10;
    if (Expected<Collected> gone = collect(keep > bytes ? keep - bytes : 0))
      estimate -= std::min(estimate, gone->bytes);
  }
  estimate += bytes;
}

Status DiskStore::store(const StoredKernel &kernel) {
  std::string bytes = encodeEntry(kernel, digest);
  if (bytes.size() > limit || bytes.size() > uint64_t(maxEntryBytes))
    return environmentError(
        path + ": an entry of " + std::to_string(bytes.size()) +
        " bytes is larger than the cache may be, " + std::to_string(limit));
  makeRoom(bytes.size());
  std::string name = nameOf(kernel.key);
  Status written = write(name, bytes);
  if (written)
    return {};
  // A full disk may be full of us.
  Expected<std::vector<StoredFile>> files = list();
  uint64_t total = 0;
  for (const StoredFile &file : files ? *files : std::vector<StoredFile>())
    total += file.bytes;
  if (total < bytes.size())
    return written;
  if (Expected<Collected> gone =
          collect(total - std::min<uint64_t>(total, 2 * bytes.size()));
      gone && gone->files > 0)
    return write(name, bytes);
  return written;
}

Expected<std::vector<StoredFile>> DiskStore::list() const {
  // A descriptor of its own: the position in a directory belongs to it.
  int copy = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *handle = copy < 0 ? nullptr : ::fdopendir(copy);
  if (!handle) {
    int code = errno;
    if (copy >= 0)
      ::close(copy);
    return fileError(path, "cannot be listed", code);
  }
  std::vector<StoredFile> files;
  while (dirent *item = ::readdir(handle)) {
    std::string_view name = item->d_name;
    struct stat info;
    if ((!isEntry(name) && !isTemporary(name)) ||
        ::fstatat(folder, item->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    files.push_back({std::string(name), static_cast<uint64_t>(info.st_size),
                     nanoseconds(info.st_mtim), isTemporary(name)});
  }
  ::closedir(handle);
  std::sort(files.begin(), files.end(), [](const auto &a, const auto &b) {
    return a.lastUse != b.lastUse ? a.lastUse > b.lastUse : a.name < b.name;
  });
  return files;
}

Expected<StoredKernel> DiskStore::read(const std::string &name) const {
  if (!isEntry(name))
    return badInput("cache entry '" + name +
                    "': valid: a name that `convjit cache ls` prints");
  Expected<std::string> bytes = readBytes(name, /*touch=*/false);
  if (!bytes)
    return bytes.takeError();
  Expected<StoredKernel> kernel = decodeEntry(*bytes, digest);
  if (!kernel)
    return environmentError(path + "/" + name + ": " + kernel.error().message);
  if (nameOf(kernel->key) != name)
    return environmentError(path + "/" + name +
                            ": is the kernel of another "
                            "layer, CPU or compiler");
  return kernel;
}

Status DiskStore::remove(const std::string &name) const {
  if (::unlinkat(folder, name.c_str(), 0) != 0 && errno != ENOENT)
    return fileError(path + "/" + name, "cannot be removed");
  return {};
}

Expected<Collected> DiskStore::collect(uint64_t maxBytes) {
  Expected<std::vector<StoredFile>> files = list();
  if (!files)
    return files.takeError();
  int64_t stale = (int64_t(::time(nullptr)) - temporarySeconds) * 1'000'000'000;
  Collected gone;
  uint64_t kept = 0;
  for (const StoredFile &file : *files) {
    bool keep =
        file.temporary ? file.lastUse > stale : kept + file.bytes <= maxBytes;
    if (keep) {
      kept += file.bytes;
      continue;
    }
    if (Status s = remove(file.name); !s)
      return s.takeError();
    ++gone.files;
    gone.bytes += file.bytes;
  }
  return gone;
}

Expected<Collected> DiskStore::clear() {
  Expected<std::vector<StoredFile>> files = list();
  if (!files)
    return files.takeError();
  Collected gone;
  for (const StoredFile &file : *files) {
    if (Status s = remove(file.name); !s)
      return s.takeError();
    ++gone.files;
    gone.bytes += file.bytes;
  }
  return gone;
}
