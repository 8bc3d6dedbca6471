#!/usr/bin/env python3
"""call_object.py CONVJIT FOLDER: emits an object file and a header, calls them from
a C program and prints the output. The layer is y[i] = x[i] + 10 x[i+1]."""
import pathlib
import shutil
import subprocess
import sys

PROGRAM = r"""
#include "convjit.h"
#include <stdio.h>
int main(void) {
  static const float input[8] = {1, 2, 3, 4, 5, 6, 7, 8}, weights[2] = {1, 10};
  static float output[8];
  static unsigned char packed[convjit_layer_PACKED_BYTES + 1];
  const convjit_aot_kernel *kernel = convjit_layer_kernel();
  convjit_kernel_args args = {0};
  args.input = input;
  args.packed_weights = packed;
  args.output = output;
  args.batch = 2;
  kernel->pack(weights, packed);
  kernel->run(&args, 0, args.batch / kernel->batch_groups *
                            kernel->tasks_per_image);
  for (int i = 0; i < 8; ++i)
    printf("%g%c", output[i], i < 7 ? ' ' : '\n');
  return 0;
}
"""


def main():
    convjit, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    compiler = next(filter(None, map(shutil.which, ["clang-22", "cc", "clang", "gcc"])),
                    None)
    if not compiler:
        print("no C compiler")
        return
    subprocess.run([convjit, "emit", "conv1d:in=4x1,oc=1,k=2", "--emit=obj,header",
                    "--name=layer", "-o", folder], check=True, stdout=subprocess.DEVNULL)
    (folder / "main.c").write_text(PROGRAM)
    subprocess.run([compiler, "-Wall", "-Werror", "main.c",
                    *sorted(folder.glob("*.o")), "-o", "main"], cwd=folder, check=True)
    print(subprocess.run([folder / "main"], check=True, capture_output=True,
                         text=True).stdout, end="")


if __name__ == "__main__":
    main()
