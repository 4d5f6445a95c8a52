"""The learning rate's course."""

import pytest

from minigpt.training import learning_rate


def test_learning_rate_goes_up_and_down():
    rates = [learning_rate(step, 100, 1.0, 0.1, 10) for step in range(120)]
    assert rates[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert rates[10] == 1 and rates[55] == pytest.approx(0.55) and rates[100:] == [pytest.approx(0.1)] * 20
