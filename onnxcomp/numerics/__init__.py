"""Factorisations, sparse least squares and what they minimise: arrays in, arrays out, in double precision, no graphs.

Letters: W (C_out, C_in / group, kh, kw) is a weight, Q = C_in / group * kh * kw the length of a row of its im2col input
x, and S = E[x x^T] (Q, Q) that input's second moment. Every method minimises tr((W - W') S (W - W')^T) over its own set
of W'; without data S is the identity. Everything here is deterministic.
"""
