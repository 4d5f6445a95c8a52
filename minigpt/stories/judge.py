"""How near a model of the stories comes to the best possible one.

Its loss on stories that the grammar draws is compared with the grammar's own: on average the entropy, which no model
can beat on new stories. The grammar also reads the stories that the model writes.
"""

from dataclasses import dataclass

from minigpt import stories
from minigpt.gpt2 import GPT2
from minigpt.stories.reading import Problem
from minigpt.tokenizer import Tokenizer
from minigpt.training.data import PairBatches, end_of_text, require_matching_vocabulary
from minigpt.training.evaluate import mean_loss

BATCH_SIZE = 50


@dataclass(frozen=True)
class Judgement:
    """loss: the model's on n stories of the grammar, in nats per story with its end. best: the grammar's own.

    wrong: (text, Problem) of each of the model's own n stories that is not a story of the grammar.
    """

    n: int
    loss: float
    best: float
    wrong: list[tuple[str, Problem]]

    @property
    def excess(self) -> float:
        """How far the loss is above the entropy, as a share of the entropy.

        These n stories happen to be more or less surprising than average. Subtracting the grammar's own loss on them
        cancels that.
        """
        return (self.loss - self.best) / stories.entropy()

    @property
    def accepted(self) -> float:
        """The share of the model's own stories that are stories of the grammar."""
        return 1 - len(self.wrong) / self.n


def judge(model: GPT2, tokenizer: Tokenizer, n: int = 1000, seed: int = 0, temperature: float = 1.0) -> Judgement:
    """Judge a model by n stories of the grammar and n of its own, drawn at a temperature (1: as it predicts).

    seed: one that the model was not trained with, so that it has not seen the stories. The bundled model was trained
    with 1 to 3. Raises ValueError for a model that has no end-of-text token or too short a context.
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
        problems = map(stories.find_problem, texts)
        wrong += [(text, problem) for text, problem in zip(texts, problems, strict=True) if problem]
    return Judgement(n, loss, -sum(story.logprob for story in drawn) / n, wrong)
