"""``lps export``: a trained network for use elsewhere."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("checkpoint")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["torch", "onnx", "pretrained"]),
    default="torch",
    show_default=True,
    help="torch: a torch.export program; onnx: an ONNX file; pretrained: a folder with a model card.",
)
def export(checkpoint: str, out: Path, kind: str) -> None:
    """Write CHECKPOINT for use elsewhere: lps export runs/first/checkpoints/best.safetensors mspnet.pt2

    CHECKPOINT is a file, a folder of --format pretrained, or owner/name on the Hugging Face hub. torch and onnx hold
    the path from differences to action logits, checked against the network before OUT is written. The folder's model
    card tells film, data and results as far as the run's files do.
    """
    from training.export import EXPORT_TOLERANCE
    from training.export import export as write
    from training.pretrained import from_pretrained, run_facts, save_pretrained

    model = from_pretrained(checkpoint)
    if model.card is None:
        raise ValueError(f"checkpoint: {checkpoint} does not say what its outputs mean")
    if kind == "pretrained":
        facts = run_facts(checkpoint)
        save_pretrained(out, model, facts=facts)
        for note in facts.notes:
            click.echo(note, err=True)
        click.echo(f"{out}: config.json, model.safetensors, README.md")
        return
    found = write(out, model, model.card, kind)
    click.echo(
        f"{out}: logits agree with the network's within {found:.1e} of the largest (allowed {EXPORT_TOLERANCE:g})"
    )
