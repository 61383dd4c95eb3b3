"""LLaMA: gated; the modules are where transformers puts them."""

from sparsity_lab.measure.sites import FfnSite

MODEL_TYPES = ("llama",)


def sites(model):
    """One site for each layer, input side first."""
    return [
        FfnSite(
            layer=i,
            name=f"model.layers.{i}.mlp",
            down=block.mlp.down_proj,
            activation=block.mlp.act_fn,
            up=block.mlp.up_proj,
            gated=True,
        )
        for i, block in enumerate(model.model.layers)
    ]
