"""Measurements. `make bench` runs them all, `python -m bench NAME…` some.

Each module has `measure() -> list[Figure]`, runs by itself, and takes no more than a few minutes. Machines are shared
and noisy, so figures are medians, and where it makes sense ratios of two things measured in one run.
"""
