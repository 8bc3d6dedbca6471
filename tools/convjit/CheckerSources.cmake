# What checks a kernel against the reference: part of the command line, and of
# the program that checks objects on CPUs the compiler is not built for
# (test/qemu, a project of its own).
set(CONVJIT_CHECKER_SOURCES
  Checker.cpp
  RandomCase.cpp
  Comparison.cpp
  GradientData.cpp
  Layer.cpp)
