"""A beam search as the tree that it is."""

from dataclasses import dataclass

import numpy as np

from minigpt.generation.beams import EMPTY_BEAM_SCORE
from minigpt.generation.search import generate
from minigpt.looking.figures import new_figure, text_style
from minigpt.looking.tokens import encode, readable, token_texts


@dataclass(frozen=True)
class Node:
    """One candidate of one step: a continuation, which differs from its parent's by its last token."""

    ids: tuple[int, ...]  # of all new tokens
    token: str  # the text of the last one
    parent: int | None  # its index among the nodes; None: the prompt
    logprob: float  # of the last token, after those before
    score: float  # log p of all new tokens, the sum
    state: str  # "kept": the search goes on with it; "finished": it ends here, and competes; "dropped"

    @property
    def step(self):
        return len(self.ids)


@dataclass(frozen=True)
class BeamTree:
    """All continuations that a beam search looked at. best: the indices of the nodes on the way to its result."""

    prompt: str
    text: str  # the continuation that won
    nodes: list[Node]
    best: list[int]

    def heights(self):
        """A height for every node, so that no two lines of the tree cross: children stand in the order of parents."""
        heights = {None: 0.0}
        for step in range(1, max(node.step for node in self.nodes) + 1):
            row = [index for index, node in enumerate(self.nodes) if node.step == step]
            row.sort(key=lambda index: (heights[self.nodes[index].parent], self.nodes[index].score))
            heights.update((index, place - (len(row) - 1) / 2) for place, index in enumerate(row))
        return heights

    def plot(self):
        """The tree, a Figure: the number is p of the token. Orange: the best text; grey: dropped; framed: finished."""
        heights = self.heights()
        n_steps = max(node.step for node in self.nodes)
        tallest = 2 * max(heights.values()) + 1
        figure = new_figure(1.6 + 1.45 * n_steps, 0.7 + 0.34 * tallest)
        axes = figure.subplots()
        box = {"boxstyle": "round,pad=0.2", "facecolor": "white"}
        for index, node in enumerate(self.nodes):
            colour = "tab:orange" if index in self.best else "lightgrey" if node.state == "dropped" else "dimgrey"
            start, end = (node.step - 1, heights[node.parent]), (node.step, heights[index])
            width = 2 if index in self.best else 1
            # Behind those of the texts that went on.
            axes.plot(*zip(start, end, strict=True), color=colour, linewidth=width, zorder=1 + (colour != "lightgrey"))
            frame = box | {"edgecolor": colour if node.state == "finished" else "white"}
            label = f"{readable(node.token)}  {np.exp(node.logprob):.2f}"
            text_colour = "darkgrey" if node.state == "dropped" else "black"
            axes.text(*end, label, ha="center", va="center", size=8, color=text_colour, bbox=frame, **text_style())
        start = readable(self.prompt)
        start = start if len(start) <= 16 else f"…{start[-15:]}"
        axes.text(0, 0, start, ha="center", va="center", size=8, bbox=box | {"edgecolor": "white"}, **text_style())
        axes.set(xlim=(-0.6, n_steps + 0.5), ylim=(-tallest / 2, tallest / 2), yticks=[])
        axes.set_xticks(range(1, n_steps + 1), [f"step {step}" for step in range(1, n_steps + 1)])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        return figure


def beam_tree(model, tokenizer, text, num_beams=3, steps=5):
    """What a beam search looks at, step by step: a BeamTree with .nodes, .best, .text and .plot().

    It is minigpt.generation.beams, watched: of every step the best candidates, some more than go on, since those
    that end a text go no further. score = sum of log p over the new tokens; finished texts compete by
    score / number of new tokens. Raises ValueError for an empty text or fewer than 2 beams or 1 step,
    ContextLengthError for a text that leaves no room for the steps.
    """
    for argument, value, least in (("num_beams", num_beams, 2), ("steps", steps, 1)):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{argument} must be an integer, at least {least}, not {value!r}")
    prompt = encode(tokenizer, text)
    nodes, index_of, score_of = [], {(): None}, {(): 0.0}

    def watch(texts, scores, ends, goes_on):
        for rank, score in enumerate(scores[0]):
            if score < EMPTY_BEAM_SCORE / 2:
                continue  # an empty beam
            ids = tuple(int(i) for i in texts[0, rank, len(prompt) :])
            finished = ends[0, rank] and rank < num_beams  # the others only wait in case that many end
            state = "kept" if goes_on[0, rank] else "finished" if finished else "dropped"
            index_of[ids], score_of[ids] = len(nodes), float(score)
            logprob = float(score) - score_of[ids[:-1]]
            nodes.append(
                Node(ids, token_texts(tokenizer, ids[-1:])[0], index_of[ids[:-1]], logprob, float(score), state)
            )

    result = generate(model, prompt, watch=watch, num_beams=num_beams, max_new_tokens=steps)
    best = tuple(int(i) for i in result[0, len(prompt) :])
    return BeamTree(text, tokenizer.decode(best), nodes, [index_of[best[:n]] for n in range(1, len(best) + 1)])
