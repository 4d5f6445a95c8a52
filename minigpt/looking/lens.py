"""What the model would say if it stopped early."""

from dataclasses import dataclass

import numpy as np

from minigpt.generation.sampling import top_indices
from minigpt.looking.figures import draw_map, label_tokens, new_figure, write_values
from minigpt.looking.tokens import encode, readable, settled, token_texts
from minigpt.ops.plain import softmax


@dataclass(frozen=True, eq=False)
class LogitLens:
    """The logits that the stream gives before block 0, row 0, and after every block; the last row is the model's."""

    tokens: list[str]  # [T]
    logits: np.ndarray  # [L + 1, T, V]
    tokenizer: object

    def top(self, k=1, position=-1):
        """The k most probable next tokens after a position, row by row: L + 1 lists of pairs (text, probability)."""
        return [self._top(row, k) for row in softmax(self.logits[:, position])]

    def _top(self, probs, k):
        best = top_indices(probs, k)
        return [(self.tokenizer.decode([i]), float(probs[i])) for i in best]

    def plot(self, last=10):
        """The most probable next token after each of the last positions, the colour its probability; a Figure.

        Upwards, as the stream flows: the lowest row is what the embedding alone says.
        """
        tokens = self.tokens[-last:]
        probs = softmax(self.logits[:, -last:])  # [L + 1, n, V]
        L = len(probs) - 1
        figure = new_figure(1.5 + 0.8 * len(tokens), 1.2 + 0.32 * (L + 1))
        axes = figure.subplots()
        image = draw_map(axes, probs.max(axis=-1), largest=1)
        best = [token_texts(self.tokenizer, row) for row in probs.argmax(axis=-1)]
        write_values(axes, [[readable(text)[:10] for text in row] for row in best], image)
        axes.invert_yaxis()
        axes.set_yticks(range(L + 1), ["embedding", *(f"block {i}" for i in range(L))], size=9)
        label_tokens(axes.xaxis, tokens, size=8)
        axes.set_xlabel("after")
        figure.colorbar(image, label="probability of the best")
        return figure


def logit_lens(model, tokenizer, text):
    """The model's last two steps, ln_f and the head, applied to the stream after every block: a LogitLens.

    logits[l] = head(ln_f(x_l)),    x_0 = embed,    x_l = h.(l-1).resid       nostalgebraist 2020, "the logit lens"
    Nothing of that is written here: the stream x_l takes the place of the last block's result, and the model goes on
    with it. So the last row, which takes its own place, is exactly the model's logits. L + 1 forward passes. Raises
    ValueError for an empty text, ContextLengthError for one that is too long.
    """
    ids = encode(tokenizer, text)
    model = settled(model)
    L = model.config.n_layer
    trace = {}
    model(ids, trace=trace)
    streams = [trace["embed"], *(trace[f"h.{layer}.resid"] for layer in range(L))]
    logits = [model(ids, edit={f"h.{L - 1}.resid": lambda _, x=x: x}) for x in streams]
    return LogitLens(token_texts(tokenizer, ids), np.stack(logits), tokenizer)
