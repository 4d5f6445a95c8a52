"""What an experiment measures: a metric is a function of the logits [T, V] of a text that returns a number.

An experiment takes the text of the right answer, from which it makes one of these metrics, or any other function:

    ablate_heads(model, tokenizer, text, metric=lambda logits: logits[-1, a] - logits[-1, b])
"""

from collections.abc import Callable

import numpy as np

from minigpt.generation.sampling import log_softmax
from minigpt.looking.inputs import single_token_id
from minigpt.tokenizer import Tokenizer

Metric = Callable[[np.ndarray], float]


def answer_logprob(tokenizer: Tokenizer, answer: str) -> Metric:
    """Return the metric log P(answer | text), the log-probability of one token after the text."""
    answer_id = single_token_id(tokenizer, answer, "answer")
    return lambda logits: log_softmax(logits[-1])[answer_id]


def logit_difference(tokenizer: Tokenizer, answer: str, wrong: str) -> Metric:
    """Return the metric logit(answer) - logit(wrong) after the text; both are the texts of one token."""
    answer_id = single_token_id(tokenizer, answer, "answer")
    wrong_id = single_token_id(tokenizer, wrong, "wrong")
    if answer_id == wrong_id:
        raise ValueError(f"answer and wrong are the same token, {answer!r}: there is nothing to tell apart")
    return lambda logits: logits[-1, answer_id] - logits[-1, wrong_id]


def chosen_metric(metric, make, tokenizer, **answers):
    """Return `metric`, or the one that make(tokenizer, **answers) makes if it is None; it returns a float.

    Raises ValueError if both are given, or neither.
    """
    names = " and ".join(answers)
    given = [name for name, text in answers.items() if text is not None]
    if metric is None:
        if len(given) < len(answers):
            raise ValueError(f"nothing says what to measure: give {names}, or a metric")
        metric = make(tokenizer, **answers)
    elif given:
        raise ValueError(f"give {names}, or a metric, not both")
    return lambda logits: _checked_number(metric(logits))


def _checked_number(value):
    if np.ndim(value) or not np.isfinite(value):
        raise ValueError(f"the metric must return one finite number for the logits [T, V], not {value!r}")
    return float(value)
