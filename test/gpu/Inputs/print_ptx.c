/* The PTX that an emitted header has, which is included before. */
#include <stdio.h>

/* Longer than any literal that C++ compilers must take. */
typedef char is_long[sizeof convjit_ptx_of_convjit_long > 65536 ? 1 : -1];

int main(void) {
  fputs(convjit_long.ptx, stdout);
  return 0;
}
