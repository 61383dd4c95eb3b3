"""Times the kernels on the device at hand, after checking them there: `sparsity-lab bench kernels`.

In: a device. Out: `DEVICE.json`, `.csv` and `.md`, with each kernel's time as a share of the ceilings.

    correctness.py   each kernel against a plain statement of its definition; if one is wrong, nothing is timed
    cases.py         the shapes timed, with the least bytes and the operations of each definition
    timing.py        device time, and the ceilings: copy bandwidth and matmul rate, measured there
    run.py           check, ceilings, cases, and the bar each case must reach

Bytes are the least a case can move, each input read and each output written once. Seconds are device seconds, by CUDA
graph where one can be captured; on a CPU they are wall clock.
"""
