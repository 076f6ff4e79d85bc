"""The loops that a diagnosis spends its time in, compiled. What they answer is what the numpy code beside them answers,
bit by bit: the same operations in the same order, without arrays in between.

Built where there is a C compiler (`diagnose.compiled` tells); not needed otherwise.
"""
