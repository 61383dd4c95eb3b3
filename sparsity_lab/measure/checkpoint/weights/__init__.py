"""The weights in a checkpoint's files, in each form that people have them in, and whether all of them were used.

    weight_files.py     which files of a folder hold the weights; refused where it is not certain
    stored.py           the tensors in them: name, shape, dtype, and each alone
    pickled.py          pytorch_model.bin, read by torch with weights_only=True and looked at before
    gguf_file.py        what a GGUF file says: family, quantization, activation function, and tensors that are not read
    activation.py       the activation function of a checkpoint whose files do not say it
    adapters.py         a LoRA or another adapter of peft, merged into the weights of its base model
    completeness.py     compares the tensors in the files with those in the loaded model

What to know: safetensors comes first. A pickle is read only where `--allow-pickle-weights` allows it, and not with a
global that is not part of tensors. Whatever the form, the record says what the weights were read from.
"""
