"""MaskGIT over codes of rounded channels instead of a learned book.

Mentzer et al. 2023, arXiv:2309.15505; quantiser of section 3, MaskGIT of section 4 (levels 8, 5, 5, 5: a thousand codes for MaskGIT's 1024).
"""

from ...codecs.bottleneck import FSQ
from ...core.spec import Spec
from ...system.recipe import Fact, Source
from .maskgit import RECIPE as MASKGIT

RECIPE = MASKGIT.but(
    {"codec.bottleneck": Spec(FSQ, {"levels": (8, 5, 5, 5)})},
    name="maskgit-fsq",
    title="MaskGIT over FSQ",
    source=(
        Source("2309.15505", "Finite Scalar Quantization: VQ-VAE Made Simple", code="google-research/google-research", at="sections 3 and 4"),
        *MASKGIT.source,
    ),
    sizes={"256px": {}},
    tiny={**MASKGIT.tiny, "codec": MASKGIT.tiny["codec"].but({"bottleneck": Spec(FSQ, {"levels": (8, 6, 5)})})},
    facts=(Fact("tokens", "256px", 256, 0, "section 4"),),
)
