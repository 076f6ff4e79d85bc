"""The part of KT that is compiled; everything else about the package is in pyproject.toml."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            f"diagnose.loops.{name}",
            [f"diagnose/loops/{name}.pyx"],
            # Without a C compiler numpy does the work (`diagnose/compiled.py`).
            optional=True,
            # Products and sums are rounded one by one, as numpy rounds them: fused ones have other last digits.
            extra_compile_args=["-O3", "-g0", "-ffp-contract=off"],
        )
        for name in ("search", "weights")
    ]
)
