"""Columns of what `structure` writes."""

from __future__ import annotations

from sparsity_lab.store.columns import IDENTITY, NAME, TEXT, Column, TableColumns, measured

LAYER, LAYER_OR_ALL = Column("layer", "0-based", "layer"), Column("layer", "0-based, or all")
COACTIVATION = TableColumns(
    "coactivation",
    *IDENTITY,
    LAYER,
    Column("neurons", "among which pairs were counted"),
    Column("sketched", "of these, the seeded sample this row is about"),
    *measured(
        "best_partner_cosine",
        "mean over neurons of the cosine with the partner found best on the first half of the text, on the second "
        "half; neurons that fired on 10 tokens of the first",
        "cosine with best partner",
    ),
    *measured(
        "best_partner_by_chance",
        "the same if each fired independently at its own frequency",
        "by chance",
        error="± se ",
    ),
)
PAIRS = TableColumns(
    "pairs",
    *IDENTITY,
    LAYER,
    Column("neuron", "index in its layer"),
    Column("partner", "index in its layer"),
    Column("cosine_found", "c_ij / sqrt(f_i f_j) on the first half, by which the pair was chosen"),
    Column("cosine", "the same on the second half"),
    Column("by_chance", "sqrt(f_i f_j) / T on the second half"),
    Column("jaccard", "c_ij / (f_i + f_j - c_ij) on the second half"),
    Column("together_tokens", "c_ij on the second half"),
    markdown=False,
)
CLUSTERS = TableColumns(
    "clusters",
    *IDENTITY,
    LAYER_OR_ALL,
    Column("clusters", "of equal size"),
    Column("best", "m", "best m"),
    Column("neurons_share", "share of neurons that m clusters hold", "of neurons"),
    *measured(
        "inside",
        "share of a token's active neurons inside the m clusters that hold most of them, on the second half",
        "inside",
    ),
    Column("random", "mean of the same over random partitions into clusters of these sizes", "random"),
    *measured("over_random", "inside less random, paired"),
    Column("p_random", "(1 + # random partitions at least as good) / (1 + R)", "p"),
    Column("by_frequency", "the same share for clusters of neurons that fire equally often", "by frequency"),
    Column(
        "matched",
        "mean of the same over partitions in which neurons changed places with others of about their frequency",
        "frequency-matched",
    ),
    Column("p_matched", "p among these", "p "),
    readers="name text best neurons_share inside inside_se random p_random matched p_matched by_frequency",
)
ROUTING = TableColumns(
    "routing",
    *IDENTITY,
    LAYER_OR_ALL,
    Column("of", "clusters, or a mixture's own experts", "of"),
    Column("experts", "how many there are", "experts"),
    Column("routed", "how many a token goes to, at most", "routed"),
    Column("cache", "how many the cache holds", "cache"),
    Column("segment", "m, tokens the cache looks ahead", "segment"),
    *measured("hit_rate", "needed experts found in the cache over all needed", "SCH"),
    Column("random", "mean of the same over random partitions", "random"),
    *measured("over_random", "hit_rate less random, paired"),
    Column("p_random", "p among random partitions", "p"),
    Column("by_frequency", "the same for clusters of neurons that fire equally often", "by frequency"),
)
SPECIALISED = TableColumns(
    "specialised",
    NAME,
    Column("what", "neurons or clusters", "what"),
    Column("texts", "the domains"),
    Column("units", "stretches of text tested, of all domains"),
    Column("features", "how many neurons or clusters", "how many"),
    Column("share", "share of them that prefer a domain at a false discovery rate of 5 %", "specialised"),
    Column("share_if_permuted", "mean share found with permuted labels", "with permuted labels"),
    Column("most_if_permuted", "largest share found with permuted labels"),
    Column("p_share", "(1 + # permuted labellings with as large a share) / (1 + R)", "p"),
    Column("twice_share", "specialised, and twice as often in its domain as elsewhere", "twice as often"),
    Column("preferred", "specialised ones by the domain they prefer"),
    Column("contrast", "sum over them of sd of rates between domains / sum of means", "contrast"),
    Column("contrast_random", "the same, mean over random partitions", "random clusters"),
    Column("p_contrast", "p among random partitions", "p "),
    Column("contrast_matched", "the same, mean over frequency-matched partitions", "frequency-matched"),
    Column("p_contrast_matched", "p among these", " p"),
)
DRIFT = TableColumns(
    "drift",
    *IDENTITY,
    Column("other", "the checkpoint it is compared with", "against"),
    Column("against", "previous or last"),
    Column(
        "measure",
        "frequency, importance (mean ||n_i||): rank correlations; coactivation: correlation of pairs' cosines",
        "measure",
    ),
    *measured("alike", "the correlation", "correlation"),
    Column("between_halves", "with itself: one half of the text against the other", "with itself"),
    readers="name other text measure alike alike_se between_halves",
)
SETTLED = TableColumns(
    "settled",
    Column("series", "the run", "series"),
    TEXT,
    Column("checkpoints", "how many", "checkpoints"),
    Column("measure", "as in drift.csv", "measure"),
    Column("level", "correlation with the last checkpoint that counts as settled", "level"),
    Column(
        "settled_at",
        "first checkpoint from which on all are above it by 1.96 standard errors; empty: none but the last",
        "settled at",
    ),
)
