"""Threshold and count primitives: a torch reference and a Triton kernel of one signature each."""

from sparsity_lab import extras

extras.require("torch", who=__name__)
