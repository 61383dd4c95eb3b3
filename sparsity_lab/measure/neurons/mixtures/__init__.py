"""Mixtures of experts: where their routers send tokens, and what the neurons of each expert do.

In: the sites of a model, each expert one, and the choices of its routers as they pass. Out: counts by expert in
addition to those of `neurons/counts.py`, and the rows of `experts.csv`, `expert_layers.csv`, `expert_chunks.csv` and
`expert_routing.csv`.

    layers.py     which sites are one layer of the model: its routed experts and its shared ones together
    routes.py     which experts each token of a pass goes to, and what an expert shows put back at its tokens' places
    segments.py   how steadily routers choose: SRP and SCH of segments of tokens
    counts.py     additive counts by expert and by router, and largest values
    visitor.py    fills them while a sparse pass runs
    tokens.py     active neurons token by token, for `heat`
    estimates.py  numbers by expert with their errors, and which experts stand out
    rows.py       the rows of the four tables

What to know: outside this folder's tables a layer is a layer of the model. The neurons of all its experts are its
neurons, and those of experts a token does not go to are not active on it. A share of tokens, as in dead and hot, is
of those that came to the neuron's expert; what a neuron does by chance is of all tokens.
"""
