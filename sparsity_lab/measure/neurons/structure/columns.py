"""What each column of the tables means, which have an error, and what readers see."""

from __future__ import annotations

IDENTITY = ("name", "text")
PLAIN = {  # no error of their own: names, settings, p values, and what chance gives
    "name", "text", "layer", "neurons", "sketched", "neuron", "partner", "together_tokens", "cosine_found", "cosine",
    "by_chance", "jaccard", "clusters", "best", "neurons_share", "random", "p_random", "by_frequency", "matched",
    "p_matched", "of", "experts", "routed", "cache", "segment", "what", "features", "share", "share_if_permuted",
    "most_if_permuted", "p_share", "twice_share", "texts", "units", "preferred", "contrast", "contrast_random",
    "p_contrast", "contrast_matched", "p_contrast_matched", "other", "against", "between_halves", "series",
    "measure", "level", "settled_at", "checkpoints",
}  # fmt: skip
COACTIVATION = {
    "layer": "0-based",
    "neurons": "among which pairs were counted",
    "sketched": "of these, the seeded sample this row is about",
    "best_partner_cosine": "mean over neurons of the cosine with the partner found best on the first half of the text, "
    "on the second half; neurons that fired on 10 tokens of the first",
    "best_partner_by_chance": "the same for neurons that fire at their own frequencies, independently",
}
PAIRS = {
    "layer": "0-based",
    "neuron": "index in its layer",
    "partner": "index in its layer",
    "cosine_found": "c_ij / sqrt(f_i f_j) on the first half, by which the pair was chosen",
    "cosine": "the same on the second half",
    "by_chance": "sqrt(f_i f_j) / T on the second half",
    "jaccard": "c_ij / (f_i + f_j - c_ij) on the second half",
    "together_tokens": "c_ij on the second half",
}
CLUSTERS = {
    "layer": "0-based, or all",
    "clusters": "of equal size",
    "best": "m",
    "neurons_share": "share of neurons that m clusters hold",
    "inside": "share of a token's active neurons inside the m clusters that hold most of them, on the second half",
    "random": "mean of the same over random partitions into clusters of these sizes",
    "over_random": "inside less random, paired",
    "p_random": "(1 + # random partitions at least as good) / (1 + R)",
    "by_frequency": "the same share for clusters of neurons that fire equally often",
    "matched": "mean of the same over partitions in which neurons changed places with others of about their frequency",
    "p_matched": "p among these",
}
ROUTING = {
    "layer": "0-based, or all",
    "of": "clusters, or a mixture's own experts",
    "experts": "how many there are",
    "routed": "how many a token goes to, at most",
    "cache": "how many the cache holds",
    "segment": "m, tokens the cache looks ahead",
    "hit_rate": "segment cache best hit rate: needed experts found in the cache over needed experts",
    "random": "mean of the same over random partitions",
    "over_random": "hit_rate less random, paired",
    "p_random": "p among random partitions",
    "by_frequency": "the same for clusters of neurons that fire equally often",
}
SPECIALISED = {
    "what": "neurons or clusters",
    "texts": "the domains",
    "units": "stretches of text tested, of all domains",
    "features": "how many neurons or clusters",
    "share": "share of them that prefer a domain at a false discovery rate of 5 %",
    "share_if_permuted": "mean share found with permuted labels",
    "most_if_permuted": "largest share found with permuted labels",
    "p_share": "(1 + # permuted labellings with as large a share) / (1 + R)",
    "twice_share": "share that is specialised and fires twice as often in its domain as in any other",
    "preferred": "specialised ones by the domain they prefer",
    "contrast": "sum of the standard deviations over domains of their rates / sum of the mean rates",
    "contrast_random": "the same, mean over random partitions",
    "p_contrast": "p among random partitions",
    "contrast_matched": "the same, mean over frequency-matched partitions",
    "p_contrast_matched": "p among these",
}
DRIFT = {
    "other": "the checkpoint it is compared with",
    "against": "previous or last",
    "measure": "frequency, importance (mean ||n_i||): rank correlations; coactivation: correlation of pairs' cosines",
    "alike": "the correlation",
    "between_halves": "the checkpoint with itself, first half of the text against the second",
}
SETTLED = {
    "series": "the run",
    "text": "name of the text",
    "checkpoints": "how many",
    "measure": "as in drift.csv",
    "level": "correlation with the last checkpoint that counts as settled",
    "settled_at": "first checkpoint from which on all are above it by 1.96 standard errors; empty: none but the last",
}
READER = {
    "coactivation": {
        "name": "checkpoint", "text": "text", "layer": "layer", "best_partner_cosine": "cosine with best partner",
        "best_partner_cosine_se": "± se", "best_partner_by_chance": "by chance", "best_partner_by_chance_se": "± se ",
    },
    "clusters": {
        "name": "checkpoint", "text": "text", "best": "best m", "neurons_share": "of neurons", "inside": "inside",
        "inside_se": "± se", "random": "random", "p_random": "p", "matched": "frequency-matched", "p_matched": "p ",
        "by_frequency": "by frequency",
    },
    "routing": {
        "name": "checkpoint", "text": "text", "of": "of", "experts": "experts", "routed": "routed", "cache": "cache",
        "segment": "segment", "hit_rate": "SCH", "hit_rate_se": "± se", "random": "random", "p_random": "p",
        "by_frequency": "by frequency",
    },
    "specialised": {
        "name": "checkpoint", "what": "what", "features": "how many", "share": "specialised",
        "share_if_permuted": "with permuted labels", "p_share": "p", "twice_share": "twice as often",
        "contrast": "contrast", "contrast_random": "random clusters", "p_contrast": "p ",
        "contrast_matched": "frequency-matched", "p_contrast_matched": " p",
    },
    "drift": {
        "name": "checkpoint", "other": "against", "text": "text", "measure": "measure", "alike": "correlation",
        "alike_se": "± se", "between_halves": "with itself",
    },
}  # fmt: skip


def columns(documented: dict[str, str], *, identity: tuple[str, ...] = IDENTITY) -> tuple[str, ...]:
    """Columns of a CSV: the names, each measured number's error behind it."""
    named = (*identity, *documented)
    return tuple(c for name in named for c in ((name,) if name in PLAIN else (name, f"{name}_se")))
