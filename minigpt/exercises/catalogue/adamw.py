"""Exercise adamw, notebook 08: one step of the optimizer."""

import math

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import arrays, numbers
from minigpt.exercises.exercise import Exercise, Probe


def adamw(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """w - lr weight_decay w - lr m^ / (sqrt(v^) + eps), with m^ and v^ the corrected means of grad and grad^2."""
    m, v = moments(grad, m, v, beta1, beta2)
    step = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return w - lr * weight_decay * w - lr * step, m, v


def moments(grad, m, v, beta1, beta2):
    """Return the running means of the gradient and of its square."""
    return beta1 * m + (1 - beta1) * grad, beta2 * v + (1 - beta2) * grad**2


@st.composite
def optimised(draw, t=st.just(1), fresh=False, zero_grad=False, eps=st.just(1e-8), weight_decay=st.just(0.0)):
    """Draw the arguments of adamw. fresh: m and v are 0, as before the first step."""
    shape = draw(st.sampled_from([(1,), (3,), (2, 3)]))
    grad = np.zeros(shape) if zero_grad else draw(arrays(*shape))
    m = np.zeros(shape) if fresh or zero_grad else draw(arrays(*shape, elements=numbers(-2, 2)))
    # v is above 0 where m is not 0; otherwise the step m / eps would be huge.
    v = np.zeros(shape) if fresh else draw(arrays(*shape, elements=numbers(0, 4).map(lambda n: n + 0.125)))
    lr, betas = draw(st.sampled_from([0.25, 0.5])), draw(st.permutations([0.25, 0.5, 0.75, 0.875]))
    return draw(arrays(*shape)), grad, m, v, draw(t), lr, *betas[:2], draw(eps), draw(weight_decay)


exercise = Exercise(
    name="adamw",
    notebook="08_learning",
    order=5,
    signature="adamw(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay)",
    task="Take step t (counted from 1) of AdamW for parameters w with gradient grad. The running means: m = beta1 m + "
    "(1 - beta1) grad and v = beta2 v + (1 - beta2) grad^2. Because they began at 0 they are corrected: m^ = m / (1 - "
    "beta1^t), v^ = v / (1 - beta2^t). The step: w = w - lr weight_decay w - lr m^ / (sqrt(v^) + eps), with the old w "
    "on the right. Return the new w, m and v (m and v uncorrected), arrays of one shape.",
    reference=adamw,
    returns=("w", "m", "v"),
    probes=(
        Probe(
            "Look at m. The old mean has the weight beta1, the gradient 1 - beta1.",
            optimised(t=st.integers(1, 5)),
            part=lambda result: result[1],
        ),
        Probe(
            "Look at v. The old mean has the weight beta2, the square of the gradient 1 - beta2.",
            optimised(t=st.integers(1, 5)),
            part=lambda result: result[2],
        ),
        Probe(
            "Look at w after the first step. m and v were 0, eps is tiny, and there is no decay. After the corrections "
            "m^ is the gradient and sqrt(v^) its size, so every w moves by lr against its gradient, or stays where "
            "that is 0.",
            optimised(fresh=True),
            part=lambda result: result[0],
        ),
        Probe(
            "Look at w after a later step, without decay. The corrections are 1 - beta1^t and 1 - beta2^t.",
            optimised(t=st.integers(2, 5)),
            part=lambda result: result[0],
        ),
        Probe(
            "Look at w. Gradient and m are 0, so only the decay is left: w - lr weight_decay w.",
            optimised(zero_grad=True, weight_decay=st.sampled_from([0.25, 0.5])),
            part=lambda result: result[0],
        ),
        Probe(
            "Look at w. Gradient and decay act together: the decay is a part of the w before the step, and does not "
            "enter the gradient or the running means.",
            optimised(t=st.integers(1, 5), weight_decay=st.sampled_from([0.25, 0.5])),
        ),
        Probe(
            "Look at w. eps is large, and there is no decay. Add eps to sqrt(v^), after the correction and the root.",
            optimised(t=st.integers(1, 5), eps=st.sampled_from([0.5, 2.0])),
            part=lambda result: result[0],
        ),
        Probe(
            "Any step.",
            optimised(st.integers(1, 5), eps=st.sampled_from([1e-8, 0.5]), weight_decay=st.sampled_from([0.0, 0.5])),
        ),
    ),
)


@exercise.formulation
def adamw_in_steps(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * grad**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    step = m_hat / (np.sqrt(v_hat) + eps)
    w = w - lr * weight_decay * w - lr * step
    return w, m, v


@exercise.mistake(
    "You use m and v as they are in the step. They began at 0 and are too small at first: use the corrected ones, m^ "
    "and v^."
)
def adamw_without_correction(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, beta1, beta2)
    return w * (1 - lr * weight_decay) - lr * m / (np.sqrt(v) + eps), m, v


@exercise.mistake("You correct m, but not v: v^ = v / (1 - beta2^t).")
def adamw_corrects_m_only(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, beta1, beta2)
    return w * (1 - lr * weight_decay) - lr * m / (1 - beta1**t) / (np.sqrt(v) + eps), m, v


@exercise.mistake("You correct v, but not m: m^ = m / (1 - beta1^t).")
def adamw_corrects_v_only(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, beta1, beta2)
    return w * (1 - lr * weight_decay) - lr * m / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@exercise.mistake("You divide by 1 - beta at every step. The correction fades with the number of steps: 1 - beta^t.")
def adamw_corrects_as_at_first(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad, m, v, 1, lr, beta1, beta2, eps, weight_decay)


@exercise.mistake("You correct with t + 1, as if t were counted from 0. Here the first step is t = 1.")
def adamw_one_step_late(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad, m, v, t + 1, lr, beta1, beta2, eps, weight_decay)


@exercise.mistake(
    "You return the corrected means. The next step needs m and v themselves: corrected ones would be corrected again "
    "and again."
)
def adamw_keeps_corrected(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, m, v = adamw(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay)
    return w, m / (1 - beta1**t), v / (1 - beta2**t)


@exercise.mistake("You use the m and v of the step before. Include this gradient in both means first.")
def adamw_steps_with_old(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    step = lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return w * (1 - lr * weight_decay) - step, *moments(grad, m, v, beta1, beta2)


@exercise.mistake("You add the step. The gradient points to where the loss grows, so subtract the step.")
def adamw_uphill(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    _, m_new, v_new = adamw(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay)
    return adamw(w, -grad, -m, v, t, lr, beta1, beta2, eps, weight_decay)[0], m_new, v_new


@exercise.mistake("You divide by v^ itself. v is a mean of squares, and its root has the size of a gradient.")
def adamw_without_root(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, beta1, beta2)
    return w * (1 - lr * weight_decay) - lr * m / (1 - beta1**t) / (v / (1 - beta2**t) + eps), m, v


@exercise.mistake("You keep the mean of the gradient's size in v. Keep the mean of its square.")
def adamw_v_without_square(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, beta1, beta2)[0], beta2 * v + (1 - beta2) * np.abs(grad)
    return w * (1 - lr * weight_decay) - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@exercise.mistake("You exchange beta1 and beta2: beta1 belongs to m, beta2 to v.")
def adamw_betas_swapped(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad, m, v, t, lr, beta2, beta1, eps, weight_decay)


@exercise.mistake(
    "You weight the old mean with 1 - beta and the new value with beta. It is the other way round: beta near 1 means a "
    "long memory."
)
def adamw_betas_reversed(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, 1 - beta1, 1 - beta2)
    return w * (1 - lr * weight_decay) - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@exercise.mistake(
    "You add the decay to the gradient, as Adam with L2 does, so it goes through m, v and the root. In AdamW it is "
    "separate: w itself loses lr weight_decay w."
)
def adamw_decay_in_gradient(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad + weight_decay * w, m, v, t, lr, beta1, beta2, eps, 0.0)


@exercise.mistake("The weight decay is missing: w loses lr weight_decay w in every step.")
def adamw_without_decay(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad, m, v, t, lr, beta1, beta2, eps, 0.0)


@exercise.mistake("You subtract weight_decay w. Multiply the decay by the learning rate as well.")
def adamw_decay_without_lr(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay / lr)


@exercise.mistake(
    "You compute the decay from the w that the step has already changed. Compute it from the w before the step."
)
def adamw_decays_after(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, m, v = adamw(w, grad, m, v, t, lr, beta1, beta2, eps, 0.0)
    return w * (1 - lr * weight_decay), m, v


@exercise.mistake("You add eps under the root. Add it to the root: sqrt(v^) + eps.")
def adamw_eps_inside(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, beta1, beta2)
    return w * (1 - lr * weight_decay) - lr * m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t) + eps), m, v


@exercise.mistake("You add eps to sqrt(v) and correct afterwards, which also divides eps. Add it to sqrt(v^).")
def adamw_eps_before_correction(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad, m, v, t, lr, beta1, beta2, eps / math.sqrt(1 - beta2**t), weight_decay)


@exercise.mistake("eps is missing in the divisor sqrt(v^) + eps.")
def adamw_without_eps(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw(w, grad, m, v, t, lr, beta1, beta2, 0.0, weight_decay)


@exercise.mistake("You add up all squares in v, as Adagrad does. Here v forgets: beta2 v + (1 - beta2) grad^2.")
def adamw_like_adagrad(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return with_second_moment(v + grad**2, w, grad, m, t, lr, beta1, beta2, eps, weight_decay)


@exercise.mistake(
    "You keep the largest v, as AMSGrad does. AdamW takes the running mean as it is: beta2 v + (1 - beta2) grad^2."
)
def adamw_like_amsgrad(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    largest = np.maximum(v, moments(grad, m, v, beta1, beta2)[1])
    return with_second_moment(largest, w, grad, m, t, lr, beta1, beta2, eps, weight_decay)


@exercise.mistake(
    "You keep the largest size of the gradient in v, as AdaMax does. Here v is the running mean of its square, and the "
    "root of v^ divides."
)
def adamw_like_adamax(w, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = moments(grad, m, v, beta1, beta2)[0], np.maximum(beta2 * v, np.abs(grad))
    return w * (1 - lr * weight_decay) - lr * m / (1 - beta1**t) / (v + eps), m, v


def with_second_moment(new_v, w, grad, m, t, lr, beta1, beta2, eps, weight_decay):
    """A step with another v."""
    m = moments(grad, m, new_v, beta1, beta2)[0]
    step = m / (1 - beta1**t) / (np.sqrt(new_v / (1 - beta2**t)) + eps)
    return w * (1 - lr * weight_decay) - lr * step, m, new_v
