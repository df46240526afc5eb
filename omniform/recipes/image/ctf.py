"""CTF: LlamaGen over 512 labels of clusters of its 16,384 codes, and a second network that names all codes at once, given all labels.

Guo et al. 2025, arXiv:2503.16194: clusters and stages of section 4, sizes of tables 1 and 2, temperature of table 3. The code is not published. What it does
not say and is ours: the second network is told no class (guidance is the first's alone), reads a label as the code nearest to the cluster's centre (it is then
LlamaGen-L as it stands, as its 343 M parameters are), and answers with codes of the place's own cluster only.
"""

from ...backbones.embed import Embed
from ...core.order import Raster
from ...core.spec import Spec
from ...processes.clustered import Clustered
from ...processes.feeds import Shift
from ...system.network import Tower
from ...system.recipe import Fact, Source
from .llamagen import RECIPE as LLAMAGEN

ARGS = LLAMAGEN.network.args
LARGE = {"depth": 24, "block.mixer.heads": 16, "block.mlp.hidden": 2816}
SMALL = {"depth": 4, "rotary.head_width": 32, "block.dropout": 0.0, "block.mixer.heads": 4, "block.mlp.hidden": 344}
FINE = Spec(Tower, {"width": 1024, "embed": Spec(Embed, {"hidden": False}), "backbone": ARGS["backbone"].but(LARGE), "head": ARGS["head"]})
SECOND = "ours is told no class, 342 M"

RECIPE = LLAMAGEN.but(
    {
        "network.embed.vocab": (512,),
        "network.head.vocab": 512,
        "network.towers": {"fine": FINE},
        "network.told": ("main",),
        "process": Spec(Clustered, {"order": Spec(Raster), "feed": Spec(Shift, {"own_place": True}), "clusters": 512, "temperature": 1.1}),
    },
    name="ctf",
    title="CTF",
    source=(
        Source("2503.16194", "Improving Autoregressive Image Generation through Coarse-to-Fine Token Prediction", at="section 4, tables 1 to 3"),
        *LLAMAGEN.source,
    ),
    sizes={"B": {}, "L": LLAMAGEN.sizes["L"], "XL": LLAMAGEN.sizes["XL"]},
    tiny={
        **LLAMAGEN.tiny,
        "network.backbone.depth": 4,
        "network.embed.vocab": (16,),
        "network.head.vocab": 16,
        "network.towers": {"fine": FINE.but({"width": 128, "backbone": ARGS["backbone"].but(SMALL)})},
        "process.clusters": 16,
    },
    facts=(
        Fact("parameters", "B", 430e6, 0.01, f"tables 1 and 2: 87 M and 343 M ({SECOND})"),
        Fact("parameters", "L", 653e6, 0.01, f"tables 1 and 2: 310 M and 343 M ({SECOND})"),
        Fact("parameters", "XL", 1077e6, 0.01, f"tables 1 and 2: 734 M and 343 M ({SECOND})"),
        Fact("tokens", "B", 256, 0, "section 5: 16 x 16 codes"),
        Fact("steps", "B", 257, 0, "section 4: a label a question, then all codes in one"),
    ),
)
