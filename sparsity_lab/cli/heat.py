"""`sparsity-lab heat`: which tokens of a text need many neurons, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli import measure_options as options
from sparsity_lab.cli.console.config import save_resolved


def command(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="Directory, GGUF file, Hub id or ID@REVISION of a causal language model.")
    ],
    thresholds: Annotated[
        Path, typer.Option("--thresholds", help="Record of `measure` whose thresholds are applied.")
    ],
    text: Annotated[Path, typer.Option("--text", help="UTF-8 text; its beginning is shown.")],
    line: Annotated[int, typer.Option("--line", min=1, help="Begin at this line of the text.")] = 1,
    tokens: Annotated[int, typer.Option("--tokens", min=2, help="Tokens shown, at most.")] = 200,
    bos: Annotated[
        bool, typer.Option("--bos/--no-bos", help="A BOS in front where the tokenizer uses one.")
    ] = True,
    revision: Annotated[str | None, typer.Option("--revision", help="Revision of a Hub id.")] = None,
    tokenizer: options.Tokenizer = None,
    device: options.Device = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16, float16 or auto.")] = "auto",
    architecture_file: options.ArchitectureFile = None,
    offline: options.Offline = False,
    output: options.Output = Path("runs/heat"),
    config: options.Config = None,
) -> None:
    """Count the kept neurons of each token of a text in each layer, and draw the text as a heat map.

    `sparsity-lab report` shows the result as a text one can point at.
    """
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.measure.token_heat import HeatSpec, write_heat

    spec = HeatSpec(
        model=model, thresholds=thresholds, text=text, revision=revision, line=line, tokens=tokens, bos=bos,
        device=device, dtype=dtype, architecture_file=architecture_file, tokenizer=tokenizer,
    )  # fmt: skip
    found = write_heat(spec, output=output)
    with attempted(output / "token_heat"):
        from sparsity_lab.fitting.plots.token_heat import draw_heat

        draw_heat(found, output=output)
    save_resolved(context, output)
    typer.echo(f"activation ratio {found['activation_ratio']:.4f} over {len(found['tokens'])} tokens")
    typer.echo(f"Written to {output}")
