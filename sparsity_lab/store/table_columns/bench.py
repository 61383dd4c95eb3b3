"""Columns of what `bench`, `density planted` and the study of coverage write."""

from __future__ import annotations

from sparsity_lab.store.columns import Column, TableColumns

TRAIN = TableColumns(
    "bench-train",
    Column("run", "of the ladder", "run"),
    Column("params_total", "parameters, tied ones once", "parameters"),
    Column("apart", "whether the loop has a process of its own", "loop in a process of its own"),
    Column("threads", "of torch", "threads"),
    Column("pairs", "of a step of the Trainer and one of the loop", "pairs of steps"),
    Column("trainer_tokens_per_second", "by the median step", "Trainer, tokens/s"),
    Column("loop_tokens_per_second", "by the median step", "plain loop, tokens/s"),
    Column("ratio", "the loop's seconds over the Trainer's, median of pairs", "Trainer / loop"),
    Column("ratio_low", "lower end of its 95 % interval, bootstrap over pairs", "2.5 %"),
    Column("ratio_high", "upper end", "97.5 %"),
    Column("trainer_loss", "mean over all steps, nats per token", "Trainer, mean loss (nats)"),
    Column("loop_loss", "the same of the loop", "plain loop, mean loss (nats)"),
)
AGAINST = TableColumns(
    "against",
    Column("question", "what was asked: `PPL-1%` or `c = 0.1`", "question"),
    Column("path", "whose algorithm", "path"),
    Column("seconds", "wall time", "seconds"),
    Column("cpu_seconds", "of all threads, which other work hardly moves", "processor seconds"),
    Column("forward_passes", "over the whole text", "forward passes"),
    Column("products", "products [tokens, F] x [F, d] of a layer, besides the passes' own", "products"),
    Column("syncs", "times the search for thresholds waits for the device", "host syncs"),
    Column("peak_mib", "memory above that in use before; empty where unknown", "peak memory (MiB)"),
    Column("knob", "c", "c"),
    Column("activation_ratio", "counted in the sparse run", "activation ratio"),
    Column("activation_ratio_se", "its standard error; the reference's without the knob's noise", "± se"),
    Column("loss_delta_nats", "L_sparse - L_dense", "loss rise (nats)"),
    Column("loss_delta_se_nats", "its standard error, paired over windows", "± se (nats)"),
    Column("flags", "findings", "flags"),
)
KERNELS = TableColumns(
    "kernels",
    Column("kernel", "its id", "kernel"),
    Column("shape", "in words", "shape"),
    Column("dtype", "of activations and weights", "dtype"),
    Column("milliseconds", "of one call, device time", "time (ms)"),
    Column("spread_milliseconds", "difference of two measurements", "spread (ms)"),
    Column("gigabytes", "the least that the work can move", "least bytes (GB)"),
    Column("operations_per_byte", "operations of the definition over the least bytes", "operations per byte"),
    Column("copy_share", "time of copying the least bytes over the kernel's", "share of copy bandwidth"),
    Column("matmul_share", "time of as many operations of a product over it", "share of bf16 matmul rate"),
    Column("times_eager", "time of eager PyTorch over it", "times faster than eager"),
    Column("times_compiled", "time of torch.compile over it", "times faster than torch.compile"),
    Column("times_dense", "time of the dense product over it", "times faster than the dense product"),
    Column("method", "CUDA graph, CUDA events or wall clock", "timed by"),
)
COVERAGE = TableColumns(
    "coverage",
    Column("law", "that is fitted", "law fitted"),
    Column("truth", "law that the data are of", "truth"),
    Column("noise", "independent, or its correlation between neighbours", "noise"),
    Column("series", "whose points and noise the data have", "points of"),
    Column("data_sets", "simulated", "data sets"),
    Column("identified", "how many are called that", "identified"),
    Column("weak", "how many are called weakly identified", "weakly"),
    Column("not", "how many are called not identified", "not"),
    Column("covered", "identified ones whose interval of A0 holds the truth", "of identified: A0 held"),
    Column("coverage", "covered over identified", "coverage"),
    Column("coverage_se", "its standard error", "standard error"),
    Column("covered_weak", "weakly identified ones whose interval holds it", "of weakly: A0 held"),
)
PLANTED = TableColumns(
    "planted",
    Column("world", "its kind", "world"),
    Column("quantity", "whose intervals are looked at", "quantity"),
    Column("intervals", "how many", "intervals"),
    Column("held", "how many of them hold the planted truth", "held"),
    Column("share", "held over intervals", "share held"),
    Column("low", "what intervals that hold 95 % give in 95 % of studies", "of a true 95 %: low"),
    Column("high", "upper end of it", "high"),
)
