"""What the demo says of its data."""

import pytest

from omniform.demo.run import _sentence


@pytest.mark.parametrize(("words", "said"), [("drawn from fonts", "Drawn from fonts."), ("Zalando's pictures.", "Zalando's pictures."), ("", "")])
def test_where_data_come_from_is_a_sentence(words, said):
    assert _sentence(words) == said
