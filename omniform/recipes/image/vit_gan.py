"""A transformer that turns noise into a picture in one question, against a transformer that tells pictures apart.

Losses: Goodfellow et al. 2014, arXiv:1406.2661, section 3, with the gradient penalty of Mescheder et al. 2018, arXiv:1801.04406, equation 9. That both
players are vision
transformers is ViTGAN's (Lee et al. 2021, arXiv:2107.04589); its self-modulated norms, distances in place of products and implicit output are not here, and
nothing of it is claimed.
"""

from ...backbones.attention import Attention
from ...backbones.blocks import PreNorm
from ...backbones.embed import Embed
from ...backbones.mlp import Mlp
from ...backbones.positions import LearnedPositions
from ...backbones.stack import Stack
from ...codecs.patch import Patches
from ...conditions.conditioning import ClassLabel
from ...core.spec import Spec
from ...heads.point import EnergyHead, PointHead
from ...processes.adversarial import Adversarial
from ...system.network import Network, Tower
from ...system.recipe import Fact, Recipe, Source

VIT = Spec(Stack, {"depth": 4, "final": "adaln", "block": Spec(PreNorm, {"mixer": Spec(Attention, {"heads": 4}), "mlp": Spec(Mlp), "modulate": "zero"})})
PLACED = Spec(Embed, {"positions": (Spec(LearnedPositions),), "hidden": False})

RECIPE = Recipe(
    name="vit-gan",
    title="Adversarial vision transformers",
    family="adversarial",
    modality="image",
    source=(
        Source("1406.2661", "Generative Adversarial Networks", at="section 3"),
        Source("1801.04406", "Which Training Methods for GANs do actually Converge?", at="equation 9"),
        Source("2107.04589", "ViTGAN: Training GANs with Vision Transformers", at="section 3"),
    ),
    codec=Spec(Patches, {"patch": 4}),
    shape=(3, 32, 32),
    conditions={"label": (Spec(ClassLabel, {"classes": 10}), "modulate")},
    network=Spec(
        Network,
        {
            "width": 384,
            "embed": PLACED,
            "backbone": VIT,
            "head": Spec(PointHead, {"small": 1.0}),
            "towers": {"critic": Spec(Tower, {"embed": PLACED, "backbone": VIT, "head": Spec(EnergyHead), "player": "critic"})},
        },
    ),
    process=Spec(Adversarial, {"penalty": 1.0}),
    drop=0.0,
    training={"batch": 128, "lr": 2e-4, "betas": (0.0, 0.99), "weight_decay": 0.0, "shape": "constant", "ema": 0.999, "steps": 200_000},
    sizes={"32px": {}},
    tiny={
        "shape": (1, 28, 28),
        "network.width": 128,
        "network.backbone.depth": 6,
        "network.towers.critic.backbone.depth": 3,
        "training": {"batch": 64, "lr": 5e-4, "steps": 3000},
    },
    facts=(Fact("tokens", "32px", 64, 0, "ViTGAN, section 4.1: patches of 4 of a picture of 32"), Fact("steps", "32px", 1, 0, "one question a picture")),
)
