"""The backward pass of a text's loss, to ask where a gradient comes from."""

import numpy as np

from minigpt.activations import activation_names, find_activation
from minigpt.gpt2 import GPT2
from minigpt.looking.activation_gradients import GradientRecording
from minigpt.looking.inputs import encode_text
from minigpt.looking.labels import token_label, token_texts
from minigpt.looking.why.answer import Factor, Why
from minigpt.looking.why.forward import ForwardNumbers
from minigpt.looking.why.gradients import gradient_why
from minigpt.looking.why.numbers import PassNumbers, checked_index, parsed_place
from minigpt.params import flatten
from minigpt.run import ContextLengthError
from minigpt.tokenizer import Tokenizer
from minigpt.training.backend import PLAIN_TRAINING


class GradientSteps:
    """The gradients of a text's loss: the mean cross-entropy of every token after the first.

    loss: its value. tokens, targets: the texts of the tokens that the model reads, and of those that it should predict,
    [T]. gradients: the gradient by every activation (without the batch axis) and every parameter, by full name.
    """

    def __init__(self, loss: float, numbers: "GradientNumbers"):
        self.loss = loss
        self.tokens = numbers.tokens
        self.targets = token_texts(numbers.tokenizer, numbers.targets)
        self.gradients: dict[str, np.ndarray] = numbers.gradients
        self._numbers = numbers

    def why(self, name: str, *index: int) -> Why:
        """Return the arithmetic that made one number of a gradient: terms that sum to it.

        >>> why = gradient_steps(model, tokenizer, text).why("wte.weight", 3, 17)  # or .why("wte.weight[3, 17]")
        >>> why.terms[0].why()                            # the gradient that the largest of them comes from

        A term is the gradient of something computed from the number, times its derivative by the number: the chain
        rule, as in training/backward.py. The way ends at the gradients of the logits, (p - 1 for the target) / T.
        name: an activation or a parameter. index: as for Steps.why, or the parameter's. term.why(0) asks for an
        activation that is a factor. Raises ValueError for a name or an index that does not exist.
        """
        return self._numbers.why(name, *index)

    def __repr__(self):
        n_activations = len(activation_names(self._numbers.config.n_layer))
        n_parameters = len(self.gradients) - n_activations
        return (
            f"loss {self.loss:.4f}, the mean over {len(self.targets)} tokens; gradients by {n_activations} activations "
            f"and {n_parameters} parameters"
        )


def gradient_steps(model: GPT2, tokenizer: Tokenizer, text: str) -> GradientSteps:
    """Run the forward and the backward pass of a text's loss: GradientSteps with .loss, .gradients and .why.

    loss = mean over t of -log P(token t + 1 | tokens 0 to t). Runs on the formulas; weights in 4, 8 or 16 bits are
    unpacked to float32. Raises ValueError for a text of less than two tokens, and for edits and replaced operations,
    which have no backward pass; ContextLengthError for a text that is too long.
    """
    ids = encode_text(tokenizer, text)
    if len(ids) < 2:
        raise ValueError("the text is one token: a loss needs at least two, one to read and one to predict")
    if len(ids) - 1 > model.config.n_positions:
        raise ContextLengthError(
            f"{len(ids) - 1} tokens to read, but the model has {model.config.n_positions} positions: shorten the text"
        )
    recording, targets = GradientRecording(model), np.array(ids[1:])
    logits = recording.forward(np.array([ids[:-1]]))
    # cross_entropy writes the gradient into the array of the logits, which shall stay as they were.
    loss, dlogits = PLAIN_TRAINING.cross_entropy(logits[0].copy(), targets, len(targets))
    grads = recording.backward(dlogits[None])
    names = activation_names(model.config.n_layer)
    gradients = {name: recording.gradients[name][0] for name in names} | flatten(grads)
    model = GPT2(model.config, recording.params, "plain", model.name)
    numbers = GradientNumbers(model, tokenizer, ids[:-1], recording.activations, gradients, ids[1:])
    return GradientSteps(loss, numbers)


class GradientNumbers(PassNumbers):
    """The numbers of a forward pass and of its backward pass. gradients: by full name, without a batch axis."""

    def __init__(self, model, tokenizer, ids, trace, gradients, targets):
        super().__init__(model, tokenizer, ids, trace)
        self.gradients = gradients
        self.targets = targets
        self.forward = ForwardNumbers(model, tokenizer, ids, trace)

    def gradient(self, name, *index):
        """Return the gradient of an activation's number as a Factor."""
        full = self.full(name)
        return Factor("gradient", full, float(self.gradients[full][index]), index)

    def ask(self, factor):
        """Return the Why of a gradient or an activation that is a factor of a term."""
        return (self if factor.kind == "gradient" else self.forward).why(factor.name, *factor.index)

    def why(self, name, *index):
        """Return the arithmetic of one number of a gradient. See GradientSteps.why."""
        return gradient_why(self, *self.place(name, index))

    def place(self, name, index):
        """Return name and index of an activation's or a parameter's number, checked. Raises ValueError."""
        name, index = parsed_place(name, index)
        if name not in self.gradients:
            raise ValueError(
                f"no activation or parameter of a model of {self.config.n_layer} blocks is called {name!r}; "
                "the keys of .gradients are their names"
            )
        shape = self.gradients[name].shape
        if name in self.params:
            axes = {"wte": "vd", "lm_head": "vd", "wpe": "td"}.get(name.split(".")[0], "io"[-len(shape) :])
        else:
            axes = find_activation(name).axes[1:].lower()
        return name, checked_index(name, index, shape, axes)

    def where(self, name, index):
        """Return a phrase that says which tokens a number belongs to; "" for a parameter of a block."""
        if name not in self.params:
            return super().where(name, index)
        if name in ("wte.weight", "lm_head.weight"):
            return f'the row of "{token_label(self.tokenizer.token_text(index[0]))}"'
        return f"position {index[0]}" if name == "wpe.weight" else ""
