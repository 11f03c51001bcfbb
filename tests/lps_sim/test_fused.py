"""Fused arithmetic in compiled loops: rounded once, and added in the stated order."""

import numpy as np
import pytest
from numba import njit

from lps_sim.fused import dot, fma

LANES = 8


@njit
def fused(a, b, c):
    return fma(a, b, c)


@njit
def product(a, b):
    return dot(a, b)


def test_a_fused_product_keeps_the_digits_that_rounding_it_first_would_lose():
    a = np.float32(1 + 2**-12)
    assert a * a - np.float32(1) == np.float32(2**-11)
    assert fused(a, a, np.float32(-1)) == np.float32(2**-11 + 2**-24)


def in_stated_order(a, b):
    """Products of float32 are exact in float64, where a sum is rounded once before it is rounded to float32."""
    sums = np.zeros(LANES, np.float32)
    whole = len(a) // LANES * LANES
    for k in range(whole):
        sums[k % LANES] = np.float32(np.float64(a[k]) * np.float64(b[k]) + np.float64(sums[k % LANES]))
    while len(sums) > 1:
        sums = sums[::2] + sums[1::2]
    total = sums[0]
    for k in range(whole, len(a)):
        total = np.float32(np.float64(a[k]) * np.float64(b[k]) + np.float64(total))
    return total


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 41, 200])
def test_a_sum_of_products_is_added_in_the_stated_order(count):
    a, b = np.random.default_rng(count).normal(size=(2, count)).astype(np.float32)
    assert product(a, b) == in_stated_order(a, b)
    assert product(a, b) == pytest.approx(float(a.astype(float) @ b), abs=1e-5)
