"""Benchmarks of speed, and of the intervals: do they hold the truth as often as they say?

None of it is needed to measure or fit. Each writes its results to a folder.

    kernels/       `bench kernels`: the kernels against the device's own ceilings, after checking that they are right
    measure/       `bench measure`: what measuring costs beyond plain forward passes; against a released algorithm
    train.py       `bench train`: transformers' Trainer against a plain loop of the same model
    coverage.py    `python -m sparsity_lab.bench.coverage FOLDER`: intervals of fits on simulated series
    planted.py     `density planted`: intervals of density and growth in worlds with known answers

Machines are noisy and drift, so two ways of doing one thing are timed in turn, in one process where possible.
"""
