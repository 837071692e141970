"""Kernels for GPUs, in Triton: the twins are the CPU's kernels of the same names.

Importing one imports Triton, so they are imported where they are called. `TRITON_INTERPRET=1` runs them on a CPU.
"""
