//===- Workers.cpp - cases in processes of their own -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Workers.h"
#include "Common.h"
#include "DeviceChecker.h"
#include "Reproducer.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>
#include <system_error>

#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

using namespace convjit;
using namespace convjit::cli;

namespace {

using Clock = std::chrono::steady_clock;

/// How often the parent looks at how long each case has been going on.
constexpr std::chrono::milliseconds tick(200);

/// The parent's side of a worker, which runs cases next, next + jobs, ...
struct Worker {
  pid_t process = 0;
  int from = -1;
  int64_t next = 0;
  std::string unread;
  /// Shared with the process: where it is.
  Position *position = nullptr;
  /// Seconds spent on the case in hand up to `looked`, and those it has; 0 as
  /// long as that was of no interest.
  double spent = 0, allowed = 0;
  Clock::time_point looked;
  /// The case that the process was killed over, or -1.
  int64_t overdue = -1;

  void startCase() {
    spent = allowed = 0;
    looked = Clock::now();
  }
};

bool sendLine(int to, const Json &document) {
  // Texts come from the command line and need not be UTF-8.
  std::string line =
      document.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  for (size_t at = 0; at < line.size();) {
    ssize_t written = write(to, line.data() + at, line.size() - at);
    if (written < 0 && errno != EINTR)
      return false;
    if (written > 0)
      at += static_cast<size_t>(written);
  }
  return true;
}

Json errorLine(const Error &error) {
  return {{"error", error.message}, {"kind", static_cast<int>(error.kind)}};
}

/// The exit code of a worker that is to be started again with its next case.
constexpr int goOnStatus = 75;

/// Checks the worker's cases; returns its exit code.
template <typename AnyChecker>
int checkAll(AnyChecker &checker, const Work &work, int64_t first, int to,
             Position &position, const Device *device = nullptr) {
  for (int64_t index = first; index < work.cases; index += work.jobs) {
    auto outcome = checker.check(work.makeCase(index), work.seed);
    if (!outcome)
      return sendLine(to, errorLine(outcome.error())) ? 0 : 1;
    Json line = {{"plan", position.plan}, {"worst", checker.worstError()}};
    if constexpr (requires { checker.kernels(); })
      line["kernels"] = checker.kernels();
    if (const std::optional<Failure> &failure = *outcome) {
      line["detail"] = failure->detail;
      line["images"] = failure->at.images;
      line["threads"] = failure->at.threads;
      line["check"] = failure->at.check;
    }
    if (!sendLine(to, line))
      return 1;
    if (device && device->isLost())
      return goOnStatus;
  }
  return 0;
}

/// The worker's side; returns its exit code.
int workOff(const Work &work, int64_t first, int to, Position &position) {
  Expected<std::unique_ptr<Compiler>> compiler = Compiler::create();
  if (!compiler)
    return sendLine(to, errorLine(compiler.error())) ? 0 : 1;
  if (!work.device.empty()) {
    Expected<std::unique_ptr<Device>> device = openDevice(work.device);
    if (!device)
      return sendLine(to, errorLine(device.error())) ? 0 : 1;
    CompileOptions options = work.options;
    if (Status s = (*device)->completeTarget(options.target); !s)
      return sendLine(to, errorLine(s.error())) ? 0 : 1;
    DeviceChecker checker(**compiler, options, **device, position);
    return checkAll(checker, work, first, to, position, device->get());
  }
  Checker checker(**compiler, work.options, work.threads, position);
  return checkAll(checker, work, first, to, position);
}
int workOffNoThrow(const Work &work, int64_t first, int to,
                   Position &position) {
  try {
    return workOff(work, first, to, position);
  } catch (const std::bad_alloc &) {
    return sendLine(to, errorLine(environmentError("not enough memory"))) ? 0
                                                                          : 1;
  } catch (const std::system_error &error) {
    return sendLine(to, errorLine(environmentError(error.what()))) ? 0 : 1;
  } catch (const std::exception &error) {
    return sendLine(to, errorLine(internalError(error.what()))) ? 0 : 1;
  } catch (...) {
    return 1; // the case in hand has failed
  }
}

Status start(Worker &worker, const Work &work) {
  auto failed = [](const char *what) {
    return environmentError(std::string(what) + ": " + std::strerror(errno));
  };
  int ends[2];
  if (pipe(ends) != 0)
    return failed("pipe");
  worker.unread.clear();
  *worker.position = Position();
  worker.overdue = -1;
  worker.startCase();
  pid_t parent = getpid();
  worker.process = fork();
  if (worker.process < 0) {
    close(ends[0]);
    close(ends[1]);
    return failed("fork");
  }
  if (worker.process == 0) {
    close(ends[0]);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
      _exit(1);
#endif
    (void)parent;
    leaveFaults();
    _exit(workOffNoThrow(work, worker.next, ends[1], *worker.position));
  }
  close(ends[1]);
  worker.from = ends[0];
  return {};
}

/// One line of a worker.
Status takeLine(Worker &worker, const Work &work, const std::string &text) {
  Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!line.is_object())
    return internalError("a worker sent '" + text.substr(0, 100) + "'");
  if (line.contains("error"))
    return Error{static_cast<ErrorKind>(line["kind"].get<int>()),
                 line["error"].get<std::string>()};
  Outcome outcome{worker.next, line["plan"], line["worst"], {}, {}};
  if (line.contains("kernels"))
    outcome.kernels = line["kernels"].get<std::vector<std::string>>();
  if (line.contains("detail")) {
    Failure failure;
    failure.detail = line["detail"];
    failure.at.images = line["images"];
    failure.at.threads = line["threads"];
    auto check = line["check"].get<std::string>();
    std::strncpy(failure.at.check, check.c_str(), sizeof failure.at.check - 1);
    outcome.failure = std::move(failure);
  }
  work.done(outcome);
  worker.next += work.jobs;
  worker.startCase();
  return {};
}

/// Kills a worker whose case has used up its time.
void checkTime(Worker &worker, const Work &work) {
  // While this process is stopped as well, time does not count.
  Clock::time_point now = Clock::now();
  worker.spent += std::chrono::duration<double>(
                      std::min<Clock::duration>(now - worker.looked, 2 * tick))
                      .count();
  worker.looked = now;
  // Making the case again only to know its limit would be a waste for most.
  // After its last case, a process has only to end.
  if (work.timeLimit > 0)
    worker.allowed = work.timeLimit;
  else if (worker.next >= work.cases)
    worker.allowed = leastSecondsAllowed;
  else if (worker.allowed == 0 && worker.spent > leastSecondsAllowed)
    worker.allowed =
        secondsAllowed(work.makeCase(worker.next), work.threads.size());
  if (worker.allowed == 0 || worker.spent <= worker.allowed)
    return;
  worker.overdue = worker.next;
  kill(worker.process, SIGKILL);
}

/// Reads what there is; a worker that died is restarted after the case that it
/// died in.
Status serve(Worker &worker, const Work &work) {
  char buffer[4096];
  ssize_t size = read(worker.from, buffer, sizeof buffer);
  if (size < 0)
    return errno == EINTR ? Status()
                          : Status(environmentError(std::string("pipe: ") +
                                                    std::strerror(errno)));
  if (size > 0) {
    worker.unread.append(buffer, static_cast<size_t>(size));
    for (size_t end; (end = worker.unread.find('\n')) != std::string::npos;) {
      std::string line = worker.unread.substr(0, end);
      worker.unread.erase(0, end + 1);
      if (Status s = takeLine(worker, work, line); !s)
        return s;
    }
    return {};
  }
  close(worker.from);
  worker.from = -1;
  int status = 0;
  while (waitpid(worker.process, &status, 0) < 0 && errno == EINTR)
    ;
  worker.process = 0;
  if (worker.next >= work.cases)
    return {};
  // It may have come to an end just before it was killed.
  if (worker.overdue >= 0 && worker.overdue != worker.next)
    return start(worker, work);
  if (WIFEXITED(status) && WEXITSTATUS(status) == goOnStatus)
    return start(worker, work);
  Failure failure;
  failure.at = *worker.position;
  failure.at.check[sizeof failure.at.check - 1] = 0;
  failure.at.plan[sizeof failure.at.plan - 1] = 0;
  if (worker.overdue >= 0) {
    char text[64];
    std::snprintf(text, sizeof text, "still running after %.6g s, killed",
                  worker.allowed);
    failure.detail = text;
  } else if (WIFSIGNALED(status)) {
    failure.detail =
        std::string("the process died: ") + strsignal(WTERMSIG(status));
  } else {
    failure.detail =
        "the process ended with status " + std::to_string(WEXITSTATUS(status));
  }
  work.done({worker.next, failure.at.plan, 0, failure, {}});
  worker.next += work.jobs;
  return worker.next < work.cases ? start(worker, work) : Status();
}

Status serveAll(std::vector<Worker> &workers, const Work &work) {
  for (Worker &worker : workers)
    if (Status s = start(worker, work); !s)
      return s;
  for (;;) {
    std::vector<pollfd> waiting;
    std::vector<Worker *> owners;
    for (Worker &worker : workers)
      if (worker.from >= 0) {
        waiting.push_back({worker.from, POLLIN, 0});
        owners.push_back(&worker);
      }
    if (waiting.empty())
      return {};
    int ready = poll(waiting.data(), waiting.size(), tick.count());
    if (ready < 0 && errno != EINTR)
      return environmentError(std::string("poll: ") + std::strerror(errno));
    for (size_t i = 0; i < waiting.size(); ++i)
      if (ready > 0 && waiting[i].revents) {
        if (Status s = serve(*owners[i], work); !s)
          return s;
      } else if (owners[i]->overdue < 0) {
        checkTime(*owners[i], work);
      }
  }
}

} // namespace

Status convjit::cli::runCases(const Work &work) {
  auto count = static_cast<size_t>(work.jobs);
  size_t bytes = count * sizeof(Position);
  void *shared = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED)
    return environmentError(std::string("mmap: ") + std::strerror(errno));
  std::vector<Worker> workers(count);
  for (size_t i = 0; i < count; ++i) {
    workers[i].next = static_cast<int64_t>(i);
    workers[i].position = static_cast<Position *>(shared) + i;
  }
  Status status = serveAll(workers, work);
  for (Worker &worker : workers)
    if (worker.process > 0) {
      kill(worker.process, SIGKILL);
      waitpid(worker.process, nullptr, 0);
      if (worker.from >= 0)
        close(worker.from);
    }
  munmap(shared, bytes);
  return status;
}
