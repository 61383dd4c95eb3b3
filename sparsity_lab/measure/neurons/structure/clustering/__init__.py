"""Groups of neurons, found on the first half of a text and judged on the second.

In: firings in pairs from the first half, or the input weights. Out: a cluster for each counted neuron, and counts of
how much of a token's activity falls into its best clusters.

    projections.py    the matrices that lead into a layer's neurons, and the input x they read
    clusters.py       neurons as points, balanced k-means, and the partitions to compare with: by frequency, random,
                      and matched in frequency
    quality.py        second pass: activity inside the best m clusters, for all partitions at once
    mixtures.py       how well a cache would serve a mixture's own experts, from its routers' choices
    coactivation.py   partners: the neurons whose firings are most alike

All counts are by unit of windows and additive. Partners are looked for in one half and measured in the other, since
the largest of many noisy numbers is too large.
"""
