//===- Dispatch.cpp - which kernels a machine can run -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// The code that reads the words of Requirements is LLVM IR, made by the same
// back end as the kernels, so that no other compiler is needed.
//
//===----------------------------------------------------------------------===//

#include "Dispatch.h"

#include "llvm/ADT/StringExtras.h"

using namespace convjit;

namespace {

std::string number(uint64_t value) { return std::to_string(value); }

/// A string as LLVM IR writes it, with its zero.
std::string quoted(const std::string &text) {
  std::string result = "c\"";
  for (unsigned char c : text) {
    if (llvm::isAlnum(c) || c == '_' || c == '-') {
      result += static_cast<char>(c);
      continue;
    }
    result += '\\';
    result += llvm::hexdigit(c >> 4);
    result += llvm::hexdigit(c & 15);
  }
  return result + "\\00\"";
}

std::string stringIR(const std::string &name, const std::string &text) {
  return "@" + name + " = private unnamed_addr constant [" +
         number(text.size() + 1) + " x i8] " + quoted(text) + "\n";
}

/// Leaves that a processor does not have may read as another: zero instead.
constexpr const char *x86Words = R"(
define internal { i32, i32, i32, i32 } @cpuid(i32 %leaf, i32 %sub) nounwind {
  %r = call { i32, i32, i32, i32 } asm sideeffect "cpuid", "={ax},={bx},={cx},={dx},{ax},{cx},~{dirflag},~{fpsr},~{flags}"(i32 %leaf, i32 %sub)
  ret { i32, i32, i32, i32 } %r
}
define internal { i32, i32, i32, i32 } @leaf(i32 %leaf, i32 %sub) nounwind {
  %range = and i32 %leaf, -2147483648
  %h = call { i32, i32, i32, i32 } @cpuid(i32 %range, i32 0)
  %last = extractvalue { i32, i32, i32, i32 } %h, 0
  %has = icmp uge i32 %last, %leaf
  br i1 %has, label %ask, label %none
ask:
  %r = call { i32, i32, i32, i32 } @cpuid(i32 %leaf, i32 %sub)
  ret { i32, i32, i32, i32 } %r
none:
  ret { i32, i32, i32, i32 } zeroinitializer
}
define internal i32 @xcr0(i32 %leaf1c) nounwind {
  %osxsave = and i32 %leaf1c, 134217728
  %has = icmp ne i32 %osxsave, 0
  br i1 %has, label %ask, label %none
ask:
  %r = call { i32, i32 } asm sideeffect "xgetbv", "={ax},={dx},{cx}"(i32 0)
  %low = extractvalue { i32, i32 } %r, 0
  ret i32 %low
none:
  ret i32 0
}
define internal void @readWords(ptr %to) nounwind {
  %l1 = call { i32, i32, i32, i32 } @leaf(i32 1, i32 0)
  %l7 = call { i32, i32, i32, i32 } @leaf(i32 7, i32 0)
  %e1 = call { i32, i32, i32, i32 } @leaf(i32 -2147483647, i32 0)
  %sub = extractvalue { i32, i32, i32, i32 } %l7, 0
  %hasSub = icmp ne i32 %sub, 0
  br i1 %hasSub, label %ask, label %join
ask:
  %asked = call { i32, i32, i32, i32 } @leaf(i32 7, i32 1)
  br label %join
join:
  %l71 = phi { i32, i32, i32, i32 } [ %asked, %ask ], [ zeroinitializer, %0 ]
  %w0 = extractvalue { i32, i32, i32, i32 } %l1, 2
  %w1 = extractvalue { i32, i32, i32, i32 } %l1, 3
  %w2 = extractvalue { i32, i32, i32, i32 } %l7, 1
  %w3 = extractvalue { i32, i32, i32, i32 } %l7, 2
  %w4 = extractvalue { i32, i32, i32, i32 } %l7, 3
  %w5 = extractvalue { i32, i32, i32, i32 } %l71, 0
  %w6 = extractvalue { i32, i32, i32, i32 } %l71, 3
  %w7 = extractvalue { i32, i32, i32, i32 } %e1, 2
  %w8 = call i32 @xcr0(i32 %w0)
)";

/// The length of SVE's registers is asked for by an instruction of SVE.
constexpr const char *armWords = R"(
declare i64 @getauxval(i64)
declare i64 @llvm.vscale.i64()
define internal i64 @sveBits() noinline nounwind "target-features"="+sve" {
  %v = call i64 @llvm.vscale.i64()
  %bits = mul i64 %v, 128
  ret i64 %bits
}
define internal void @readWords(ptr %to) nounwind {
  %w0 = call i64 @getauxval(i64 16)
  %w1 = call i64 @getauxval(i64 26)
  %sve = and i64 %w0, 4194304
  %has = icmp ne i64 %sve, 0
  br i1 %has, label %ask, label %join
ask:
  %asked = call i64 @sveBits()
  br label %join
join:
  %w2 = phi i64 [ %asked, %ask ], [ 0, %0 ]
)";
constexpr size_t armSVEWord = 2, armWordCount = 3;

std::string storeWords(bool x86, size_t count) {
  std::string ir;
  for (size_t i = 0; i < count; ++i) {
    std::string n = number(i);
    if (x86)
      ir += "  %z" + n + " = zext i32 %w" + n + " to i64\n";
    ir += "  %p" + n + " = getelementptr i64, ptr %to, i64 " + n +
          "\n  store i64 " + (x86 ? "%z" : "%w") + n + ", ptr %p" + n + "\n";
  }
  return ir + "  ret void\n}\n";
}

} // namespace

std::string convjit::runnableIR(const std::string &prefix, bool x86,
                                const std::vector<Requirements> &targets) {
  size_t count = x86 ? Requirements::wordCount : armWordCount;
  // The last bit says that the others are known. Threads may find them out at
  // once, all the same.
  std::string ir = "@known = internal global i64 0\n";
  ir += x86 ? x86Words : armWords;
  ir += storeWords(x86, count);
  ir += "define hidden i64 @" + prefix + R"(_runnable() nounwind {
  %words = alloca [)" +
        number(count) + R"( x i64]
  %before = load atomic i64, ptr @known monotonic, align 8
  %isKnown = icmp ne i64 %before, 0
  br i1 %isKnown, label %done, label %ask
done:
  ret i64 %before
ask:
  call void @readWords(ptr %words)
)";
  for (size_t i = 0; i < count; ++i) {
    std::string n = number(i);
    ir += "  %p" + n + " = getelementptr i64, ptr %words, i64 " + n + "\n  %w" +
          n + " = load i64, ptr %p" + n + "\n";
  }
  std::string mask = number(uint64_t(1) << 63);
  for (size_t t = 0; t < targets.size(); ++t) {
    std::string good = "true", id = number(t) + "_";
    auto require = [&](size_t word, uint64_t of, uint64_t value) {
      std::string n = id + number(word), w = "%w" + number(word);
      ir += "  %a" + n + " = and i64 " + w + ", " + number(of) + "\n  %c" + n +
            " = icmp eq i64 %a" + n + ", " + number(value) + "\n  %g" + n +
            " = and i1 " + good + ", %c" + n + "\n";
      good = "%g" + n;
    };
    for (size_t word = 0; word < Requirements::wordCount; ++word)
      if (uint64_t bits = targets[t].words[word])
        require(word, bits, bits);
    if (targets[t].sveBits)
      require(armSVEWord, ~uint64_t(0), targets[t].sveBits);
    ir += "  %b" + id + " = select i1 " + good + ", i64 " +
          number(uint64_t(1) << t) + ", i64 0\n  %m" + id + " = or i64 " +
          mask + ", %b" + id + "\n";
    mask = "%m" + id;
  }
  return ir + "  store atomic i64 " + mask +
         ", ptr @known monotonic, align 8\n  ret i64 " + mask + "\n}\n";
}

std::string convjit::pickIR(const std::string &prefix, const std::string &name,
                            const std::vector<std::string> &symbols,
                            const std::vector<std::string> &cpus) {
  std::string full = prefix + "_" + name, ir;
  for (const std::string &symbol : symbols)
    ir += "@" + symbol + " = external constant i8\n";
  for (size_t t = 0; t < cpus.size(); ++t)
    ir += stringIR("cpu" + number(t), cpus[t]);
  ir += "declare i32 @strcmp(ptr, ptr)\ndeclare hidden i64 @" + prefix +
        "_runnable()\n";
  auto body = [&](bool byName) {
    ir += "  %mask = call i64 @" + prefix + "_runnable()\n";
    std::string best = "null";
    for (size_t t = symbols.size(); t-- > 0;) {
      std::string n = number(t), good = "%good" + n;
      ir += "  %bit" + n + " = and i64 %mask, " + number(uint64_t(1) << t) +
            "\n  " + good + " = icmp ne i64 %bit" + n + ", 0\n";
      if (byName) {
        ir += "  %cmp" + n + " = call i32 @strcmp(ptr %cpu, ptr @cpu" + n +
              ")\n  %same" + n + " = icmp eq i32 %cmp" + n + ", 0\n  %both" +
              n + " = and i1 " + good + ", %same" + n + "\n";
        good = "%both" + n;
      }
      ir += "  %best" + n + " = select i1 " + good + ", ptr @" + symbols[t] +
            ", ptr " + best + "\n";
      best = "%best" + n;
    }
    ir += "  ret ptr " + best + "\n}\n";
  };
  ir += "define ptr @" + full + "_kernel() nounwind {\n";
  body(false);
  ir += "define ptr @" + full + "_kernel_for(ptr %cpu) nounwind {\n";
  body(true);
  return ir;
}

std::string convjit::findIR(const std::string &prefix,
                            const std::vector<std::string> &names,
                            const std::vector<std::string> &problems) {
  std::string ir = "declare i32 @strcmp(ptr, ptr)\n", body;
  for (size_t i = 0; i < names.size(); ++i) {
    std::string n = number(i), pick = "@" + prefix + "_" + names[i] + "_kernel";
    ir += stringIR("problem" + n, problems[i]) + "declare ptr " + pick + "()\n";
    body += "try" + n + ":\n  %cmp" + n + " = call i32 @strcmp(ptr %problem, " +
            "ptr @problem" + n + ")\n  %same" + n + " = icmp eq i32 %cmp" + n +
            ", 0\n  br i1 %same" + n + ", label %is" + n + ", label %try" +
            number(i + 1) + "\nis" + n + ":\n  %kernel" + n + " = call ptr " +
            pick + "()\n  ret ptr %kernel" + n + "\n";
  }
  return ir + "define ptr @" + prefix +
         "_find(ptr %problem) nounwind {\n  br label %try0\n" + body + "try" +
         number(names.size()) + ":\n  ret ptr null\n}\n";
}
