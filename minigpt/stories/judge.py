"""How near a model of the stories comes to the best there can be.

Its loss on stories that the grammar writes is held against what they cost the grammar itself, on average the entropy,
which no model can beat on new stories; the stories that it writes itself go to the checker.
"""

from dataclasses import dataclass

from minigpt import stories
from minigpt.training.data import PairBatches, end_of_text, require_matching_vocabulary
from minigpt.training.evaluate import mean_loss

BATCH_SIZE = 50


@dataclass(frozen=True)
class Judgement:
    """loss: of the model on n stories by the grammar, nats a story with its end; best: that of the grammar itself.

    wrong: [(text, Problem)] of those among the model's own n stories that are none.
    """

    n: int
    loss: float
    best: float
    wrong: list

    @property
    def excess(self):
        """How far the loss is above the entropy, as a share of it.

        Of the loss on the same stories, by chance a little more or less surprising than all are: so chance cancels.
        """
        return (self.loss - self.best) / stories.entropy()

    @property
    def accepted(self):
        """The share of the model's own stories that are stories of the grammar."""
        return 1 - len(self.wrong) / self.n


def judge(model, tokenizer, n=1000, seed=0, temperature=1.0):
    """A Judgement of a model by n stories of the grammar and n of its own, drawn at a temperature: 1, as it predicts.

    A seed that the model was not trained with, for stories that are new to it: the bundled one knows those of 1 to 3.
    Raises ValueError for a model that has no end-of-text token or too short a context.
    """
    require_matching_vocabulary(tokenizer, model.config)
    beginning, end = model.config.beginning_token_id, end_of_text(model.config, tokenizer)
    if end is None:
        raise ValueError("this model has no end-of-text token, so its stories never end")
    drawn = list(stories.stories(n, seed))
    if not drawn:
        raise ValueError("judging needs at least one story")
    pairs = [([beginning, *tokenizer.encode(story.text), end], 1) for story in drawn]
    n_tokens = [len(ids) - 1 for ids, _ in pairs]
    if max(n_tokens) > model.config.n_positions:
        raise ValueError(f"a story has {max(n_tokens)} tokens, this model {model.config.n_positions} positions")
    loss = mean_loss(model, PairBatches(pairs, BATCH_SIZE, seed).spread(n)) * sum(n_tokens) / n

    wrong = []
    for first in range(0, n, BATCH_SIZE):
        written = model.generate(
            [beginning],
            num_return_sequences=min(BATCH_SIZE, n - first),
            max_new_tokens=model.config.n_positions - 1,
            do_sample=True,
            temperature=temperature,
            top_k=0,
            eos_token_id=end,
            pad_token_id=end,
            seed=seed + first,
        )
        texts = [tokenizer.decode(ids[: ids.index(end)] if end in ids else ids) for ids in written[:, 1:].tolist()]
        problems = map(stories.check, texts)
        wrong += [(text, problem) for text, problem in zip(texts, problems, strict=True) if problem]
    return Judgement(n, loss, -sum(story.logprob for story in drawn) / n, wrong)
