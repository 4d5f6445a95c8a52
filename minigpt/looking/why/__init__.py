"""Where a number comes from: the sum that made it, every term of which can be asked in turn.

answer.py          a Why, its Terms and their Factors
forward.py         the formulas of the activations
gradients.py       the formulas of the gradients of activations: the chain rule
parameters.py      the formulas of the gradients of parameters
gradient_steps.py  the backward pass of a loss, whose gradients can be asked
numbers.py         the numbers that stand in the formulas, by name and index
display.py         a Why as text and as HTML
"""
