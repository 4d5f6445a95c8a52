"""What ends a text, beside transformers."""

import numpy as np
import pytest
import torch
import transformers
from reference import in_torch
from transformers import StoppingCriteria

from minigpt import GPT2, Tokenizer


@pytest.fixture(scope="module")
def stories():
    return GPT2.from_pretrained("stories"), Tokenizer.from_pretrained("stories")


@pytest.fixture(scope="module")
def theirs(stories, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stories")
    stories[1].save_pretrained(folder)
    return in_torch(stories[0]), transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))


@pytest.mark.parametrize("strings", ["girl", ["re lived", "xyz"], ["a", "upon a time th"], [" time there liv"], ["zz"]])
def test_stop_strings_end_where_transformers_does(stories, theirs, strings):
    model, tokenizer = stories
    ids = tokenizer.encode("Once upon a time")
    ours = model.generate(ids, max_new_tokens=15, stop_strings=strings, tokenizer=tokenizer)
    expected = theirs[0].generate(
        torch.tensor([ids]), max_new_tokens=15, do_sample=False, stop_strings=strings, tokenizer=theirs[1]
    )
    assert ours.tolist() == expected.tolist()
    streamed = list(model.stream(ids, max_new_tokens=15, stop_strings=strings, tokenizer=tokenizer))
    assert streamed == ours[0, len(ids) :].tolist()


def test_a_stop_string_of_several_tokens_a_character(stories):
    model, tokenizer = stories
    ids = tokenizer.encode("a🤖b🤖")
    forced = iter(ids)

    def follow_the_script(_, scores):
        return np.where(np.arange(scores.size)[None] == next(forced), 0, -np.inf)

    options = {"max_new_tokens": len(ids), "stop_strings": "🤖", "tokenizer": tokenizer}
    (row,) = model.generate(tokenizer.encode("Once"), **options, logits_processor=follow_the_script)
    assert tokenizer.decode(row).endswith("a🤖") and len(row) < len(ids)


def test_criteria_of_transformers_and_several(stories):
    model, tokenizer = stories

    class AfterSix(StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            return np.full(len(input_ids), input_ids.shape[1] >= 6)

    ids = tokenizer.encode("Once upon a time")
    assert model.generate(ids, stopping_criteria=[AfterSix()]).shape == (1, 6)
    never = [lambda sequences: [False], AfterSix()]
    assert model.generate(ids, stopping_criteria=never, num_beams=2).shape == (1, 6)
