"""A beam search, drawn as a tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minigpt.checks import require_integer
from minigpt.generation.beams import EMPTY_BEAM_SCORE
from minigpt.generation.search import generate
from minigpt.gpt2 import GPT2
from minigpt.looking.figures import new_figure, text_style
from minigpt.looking.inputs import encode_text
from minigpt.looking.labels import token_label, token_texts
from minigpt.tokenizer import Tokenizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Node:
    """One candidate of one step: a continuation that differs from its parent's by its last token."""

    ids: tuple[int, ...]  # of all new tokens
    token: str  # the text of the last one
    parent: int | None  # its index among the nodes; None: the prompt
    logprob: float  # of the last token, given those before
    score: float  # the sum of log p over all new tokens
    state: str  # "kept": the search continues it; "finished": it is complete, and competes; "dropped"

    @property
    def step(self):
        return len(self.ids)


@dataclass(frozen=True)
class BeamTree:
    """All continuations that a beam search considered. best: the indices of the nodes on the way to its result."""

    prompt: str
    text: str  # the continuation that won
    nodes: list[Node]
    best: list[int]

    def heights(self) -> dict[int | None, float]:
        """Return a height for every node: children are ordered like their parents, so that no lines cross."""
        heights = {None: 0.0}
        for step in range(1, max(node.step for node in self.nodes) + 1):
            column = [index for index, node in enumerate(self.nodes) if node.step == step]
            column.sort(key=lambda index: (heights[self.nodes[index].parent], self.nodes[index].score))
            heights.update((index, rank - (len(column) - 1) / 2) for rank, index in enumerate(column))
        return heights

    def plot(self) -> Figure:
        """Draw the tree; numbers are p(token). Orange: the best text. Grey: dropped. Framed: finished."""
        heights = self.heights()
        n_steps = max(node.step for node in self.nodes)
        n_rows = 2 * max(heights.values()) + 1
        figure = new_figure(1.6 + 1.45 * n_steps, 0.7 + 0.34 * n_rows)
        axes = figure.subplots()
        box = {"boxstyle": "round,pad=0.2", "facecolor": "white"}
        for index, node in enumerate(self.nodes):
            colour = "tab:orange" if index in self.best else "silver" if node.state == "dropped" else "dimgrey"
            start = (node.step - 1, heights[node.parent])
            end = (node.step, heights[index])
            width = 2 if index in self.best else 1
            # The lines of dropped texts lie behind the others.
            axes.plot(*zip(start, end, strict=True), color=colour, linewidth=width, zorder=1 + (colour != "silver"))
            frame = box | {"edgecolor": colour if node.state == "finished" else "white"}
            label = f"{token_label(node.token)}  {np.exp(node.logprob):.2f}"
            text_colour = "dimgrey" if node.state == "dropped" else "black"
            axes.text(
                *end, label, ha="center", va="center", size="small", color=text_colour, bbox=frame, **text_style()
            )
        prompt = token_label(self.prompt)
        prompt = prompt if len(prompt) <= 16 else f"…{prompt[-15:]}"
        axes.text(
            0, 0, prompt, ha="center", va="center", size="small", bbox=box | {"edgecolor": "white"}, **text_style()
        )
        axes.set(xlim=(-0.6, n_steps + 0.5), ylim=(-n_rows / 2, n_rows / 2), yticks=[])
        axes.set_xticks(range(1, n_steps + 1), [f"step {step}" for step in range(1, n_steps + 1)])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        return figure


def beam_tree(model: GPT2, tokenizer: Tokenizer, text: str, num_beams: int = 3, steps: int = 5) -> BeamTree:
    """Record what a beam search considers, step by step: a BeamTree with .nodes, .best, .text and .plot().

    It watches minigpt's own beam search. Each step has a few candidates more than beams, because those that end a
    text do not continue. score = sum of log p over the new tokens; finished texts compete by score / number of new
    tokens. Raises ValueError for an empty text, fewer than 2 beams or fewer than 1 step, ContextLengthError for a
    text that leaves no room for the steps.
    """
    return beam_tree_of_ids(model, tokenizer, encode_text(tokenizer, text), text, num_beams, steps)


def beam_tree_of_ids(
    model: GPT2, tokenizer: Tokenizer, prompt: list[int], text: str, num_beams: int = 3, steps: int = 5
) -> BeamTree:
    """Return the beam_tree of a prompt that is given as ids; text: how the tree shows it."""
    require_integer("num_beams", num_beams, 2)
    require_integer("steps", steps, 1)
    nodes, index_of, score_of = [], {(): None}, {(): 0.0}

    def watch(texts, scores, ends, goes_on):
        for rank, score in enumerate(scores[0]):
            if score < EMPTY_BEAM_SCORE / 2:
                continue  # an empty beam
            ids = tuple(int(i) for i in texts[0, rank, len(prompt) :])
            finished = ends[0, rank] and rank < num_beams  # lower ranks are needed only if higher ones end
            state = "kept" if goes_on[0, rank] else "finished" if finished else "dropped"
            index_of[ids] = len(nodes)
            score_of[ids] = float(score)
            logprob = float(score) - score_of[ids[:-1]]
            token = token_texts(tokenizer, ids[-1:])[0]
            nodes.append(Node(ids, token, index_of[ids[:-1]], logprob, float(score), state))

    result = generate(model, prompt, watch=watch, num_beams=num_beams, max_new_tokens=steps)
    best = tuple(int(i) for i in result[0, len(prompt) :])
    return BeamTree(text, tokenizer.decode(best), nodes, [index_of[best[:n]] for n in range(1, len(best) + 1)])
