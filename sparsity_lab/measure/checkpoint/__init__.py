"""From a name to a verified model: where a checkpoint's files are, what they hold, and whether they were all used.

In: a folder, a GGUF file, a Hub id or ID@REVISION. Out: its config, tokenizer and hash (cheap, before any work is
planned), later its weights in evaluation mode. Nothing in a checkpoint is executed.

    source.py           the name -> `Source`: where weights and tokenizer are
    hub/                asks the Hub and downloads, in bounded time; what its refusals mean
    pinning.py          the commit that a name means today, and the base model of an adapter
    config.py           its config through transformers; refuses what would give a wrong number
    loading.py          tokenizer and weights through transformers
    weights/            the weights in its files, in each form: safetensors, pickles, GGUF, adapters
    explaining.py       errors of transformers, safetensors and the Hub as one paragraph
    devices.py          device and dtype, as asked or chosen with a reason
    fingerprints.py     hashes of weights and tokenizer files, remembered for large unchanged files
    trained_tokens.py   how many tokens a checkpoint was trained on, and which source says so
    prepared.py         `Prepared`: a checkpoint with its windows, device, dtype and hash, before weights are loaded

What to know: the hash of a local checkpoint covers every byte of its config and weights, and is part of each cell's
content key. A Hub checkpoint is identified by its name and commit. Trained tokens only place a point on an axis; they
are not part of any key.
"""
