"""A loaded model and its text, ready to be passed over.

In: a checkpoint and a text. Out: a `Subject`: the model, its feed-forward sites, and the windows. Everything that
reads or changes activations is a visitor that a pass calls at each site.

    tokenizers.py        a checkpoint's tokenizer, put right by its tokenizer.json
    windows.py           text -> token ids -> windows of equal length, and the length to use
    hooks.py             `FfnSite`: where s, u, a and y pass by in a layer, and the hooks that call a visitor
    experts/             the experts of a mixture as sites, each seen over the tokens routed to it
    proof/               shows on a few tokens that the sites are what they are taken for
    loaded.py            `Shelf`: one loaded and proved model at a time, shared by the cells of a checkpoint
    passes.py            `Subject`: one forward per batch of windows, with summed losses for each window
    plausible.py         refuses or flags a dense loss that no trained model has
    halving.py           starts again at half the batch when memory runs out
    memory_estimate.py   the peak memory of a cell before it is measured, for `--dry-run`

What to know: activations are [batch, positions, F] with positions including the BOS; `Subject.valid` leaves it out.
`Subject.reached` and what a visitor counted belong to the last pass only. Losses are summed in float64 window by
window, so they do not depend on the batch size.
"""
