"""Experts of a mixture as feed-forward sites: each expert is one, seen over the tokens routed to it.

Expert e with router weight r gives r W_d (s * u). The weight goes to u here, u' = r u, so that a = s * u' and
y = W_d a hold as at any site, a neuron's output has the weight in it, and the layer's output is the sum of y
over experts. Experts without a gate have a = r s, and it is r s that is seen as s. Where a router's weight scales
what an expert takes (Llama 4), it is in s and u already. Where a down projection has a bias, y is W_d a without it, and
the layer adds r b_d.

    sites.py      `ExpertSite`, and which modules hold experts
    layouts.py    experts as most of transformers' classes keep them: their matrices, and which tokens come to them
    others.py     the classes that keep them otherwise
    taps.py       takes a layer's computation over while anyone watches it
    packing.py    the tokens of one expert, window by window

The computation of a layer is ours while a site is watched: experts that transformers lets be chosen by name are given a
name of ours, and the model's own choice is put back afterwards; of others the output is replaced by a hook. Either way
the proof compares the sum with what the model's own computation gives; and as a router sends few tokens to few experts,
it sends the same few to every expert in turn and compares each alone.
"""
