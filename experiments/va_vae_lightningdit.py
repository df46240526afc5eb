"""The weight that balances alignment and reconstruction: whatever the size of either, at the encoder's last layer their gradients are in the ratio that was
asked for."""

import torch
from claims import Claim, Numbers, Verdict, main

from omniform import recipes
from omniform.core.rng import Rng
from omniform.data.catalog import open_data
from omniform.system.build import assemble

CLAIM = Claim(
    row="va-vae-lightningdit",
    says="with the adaptive weight the gradients of alignment and reconstruction at the encoder's last layer are alike, times the weight that is set, "
        "however large either loss is",
    source="arXiv:2501.01423, section 3, equations 4 and 5",
    recipes=("va-vae",),
    budget="a batch of 16 glyphs through a small autoencoder, three times, seconds",
    data=("glyphs",),
)
SCALES = (0.01, 1.0, 100.0)


def measure(seed: int) -> Numbers:
    system = assemble(recipes.get("va-vae").sized("tiny"), seed=seed)
    pixels = open_data("glyphs").train.batch(range(100 * seed, 100 * seed + 16)).data
    codec = system.codec
    latent, _ = codec.bottleneck(codec.encoder(pixels), pixels.numel(), Rng.seeded(seed))
    rebuilt = sum(codec.distortion(codec.decoder(latent), pixels).values())
    layer = codec.encoder[-1].weight
    norm = lambda x: float(torch.autograd.grad(x, layer, retain_graph=True)[0].norm())  # noqa: E731
    plain = norm(codec.align.terms(latent, pixels))
    ratios = {f"ratio_{s:g}": norm(codec.align(latent, pixels, s * rebuilt, layer)) / norm(s * rebuilt) for s in SCALES}
    return {"without": plain / norm(rebuilt), "weight": codec.align.weight, **ratios}


def judge(runs: list[Numbers]) -> tuple[Verdict, str]:
    wrong = max(abs(run[f"ratio_{s:g}"] / run["weight"] - 1) for run in runs for s in SCALES)
    plain = [run["without"] for run in runs]
    said = f"ratios of {runs[0]['weight']:g} are met to {wrong:.1%} at reconstruction losses a hundredth, once and a hundred times as large"
    return Verdict.HOLDS if wrong < 0.05 else Verdict.FAILS, f"{said}; without the weight the ratio is {min(plain):.1e} to {max(plain):.1e}"


if __name__ == "__main__":
    main(CLAIM, measure, judge)
