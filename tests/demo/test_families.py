"""Which system stands for a family, and how fast it learns in the demo."""

import pytest

from omniform import recipes
from omniform.demo.families import IMAGE, LONG, SHORT, TEXT, Family


def test_the_learning_rate_goes_from_one_factor_to_the_other():
    family = Family("var", "Next-scale", "VAR", "", rates=(4.0, 1.0))
    assert [family.rate(s) for s in (1, SHORT, LONG, 9999)] == pytest.approx([4, 4, 1, 1])
    assert family.rate((SHORT * LONG) ** 0.5) == pytest.approx(2.0), "half way in the logarithm of the seconds"


@pytest.mark.parametrize("family", IMAGE + TEXT, ids=lambda f: f.recipe)
def test_every_family_has_a_recipe_with_a_rate_that_can_be_multiplied(family):
    assert recipes.get(family.recipe).sized("tiny").training["lr"] * max(family.rates) < 1e-2
    assert family.codec is None or recipes.get(family.codec).family == "latent"
