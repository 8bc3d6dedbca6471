"""Layers on GPUs: predictions, machine code, what the emulator counts, and times."""
