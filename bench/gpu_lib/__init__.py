"""What NVIDIA's assembler makes of kernels, and what the emulator measures of them."""
