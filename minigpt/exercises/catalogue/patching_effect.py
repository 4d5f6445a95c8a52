"""Exercise patching_effect, notebook 11: how much of the answer a patch restores."""

import numpy as np
from hypothesis import strategies as st

from minigpt.exercises.drawing import arrays, large_input, numbers, sizes, small_integers, whole_numbers
from minigpt.exercises.exercise import Exercise, Probe
from minigpt.ops.plain import softmax


def patching_effect(clean, corrupted, patched, answer, wrong):
    """(patched - corrupted) / (clean - corrupted), of the differences of two logits after the last token."""
    return normalised(*differences(clean, corrupted, patched, answer, wrong))


def differences(clean, corrupted, patched, answer, wrong):
    """Return logit(answer) - logit(wrong) after the last token of each run: clean, corrupted, patched [N]."""
    return tuple(logits[..., -1, answer] - logits[..., -1, wrong] for logits in (clean, corrupted, patched))


def normalised(clean, corrupted, patched):
    return (patched - corrupted) / (clean - corrupted)


@st.composite
def runs(
    draw, N=sizes(1, 3), T=sizes(1, 3), V=sizes(2, 4), elements=whole_numbers(), patched="drawn", corrupted_at=None
):
    """Draw the logits of three kinds of runs, and two tokens. In the last row clean and corrupted differ by 1 or more.

    patched: "corrupted" or "clean" makes all patched runs equal to that run. corrupted_at: the corrupted run's
    difference of logits.
    """
    N, T, V = draw(N), draw(T), draw(V)
    answer, wrong = draw(st.permutations(range(V)))[:2]
    clean, corrupted = (draw(arrays(T, V, elements=elements)) for _ in range(2))
    if corrupted_at is not None:
        corrupted[-1, wrong] = corrupted[-1, answer] - corrupted_at
    gap = (clean - corrupted)[-1]
    if abs(gap[answer] - gap[wrong]) < 1:
        clean[-1, answer] += draw(st.sampled_from([2.0, 4.0, -3.0]))
    those = {"clean": clean, "corrupted": corrupted}.get(patched)
    patched = draw(arrays(N, T, V, elements=elements)) if those is None else np.repeat(those[None], N, axis=0)
    return clean, corrupted, patched, answer, wrong


def many_runs(rng):
    """Return the logits of 60 patched runs over 9 tokens and a vocabulary of 30."""
    clean, corrupted = small_integers(rng, 9, 30), small_integers(rng, 9, 30)
    clean[-1, 23], corrupted[-1, 23] = 5, -2
    return clean, corrupted, small_integers(rng, 60, 9, 30), 23, 4


one = one_token = st.just(1)
exercise = Exercise(
    name="patching_effect",
    notebook="11_looking_inside",
    order=3,
    signature="patching_effect(clean, corrupted, patched, answer, wrong)",
    task="How much of the clean answer each patch restores. A run is measured by the difference logit(answer) - "
    "logit(wrong) after its last token, and effect = (patched - corrupted) / (clean - corrupted) of these differences: "
    "0 is as corrupted as before, 1 the whole clean answer, and values outside are possible. clean and corrupted [T, "
    "V] are the logits of the two runs, patched [N, T, V] those of N patched ones; answer and wrong are token ids -> "
    "[N].",
    reference=patching_effect,
    probes=(
        Probe(
            "The patch changes nothing: the patched run is the corrupted one, so the effect is 0.",
            runs(one, one_token, patched="corrupted"),
        ),
        Probe("The patched run is the clean one: the effect is 1.", runs(one, one_token, patched="clean")),
        Probe(
            "The corrupted run has equal logits for both tokens, so its difference is 0 and the effect is patched / "
            "clean. Look at the two differences, answer minus wrong.",
            runs(one, one_token, corrupted_at=0.0),
        ),
        Probe(
            "A single text of one token. The corrupted difference counts too: it is subtracted above and below.",
            runs(one, one_token),
        ),
        Probe("Several tokens: only the logits after the last one count.", runs(one, sizes(2, 3))),
        Probe("Several patched runs: each has an effect of its own.", runs(sizes(2, 4))),
        Probe("Logits of all kinds, drawn at random.", runs(elements=numbers())),
        large_input(many_runs),
    ),
)


@exercise.formulation
def patching_effect_in_steps(clean, corrupted, patched, answer, wrong):
    clean_difference = clean[-1, answer] - clean[-1, wrong]
    corrupted_difference = corrupted[-1, answer] - corrupted[-1, wrong]
    patched_difference = patched[:, -1, answer] - patched[:, -1, wrong]
    return (patched_difference - corrupted_difference) / (clean_difference - corrupted_difference)


@exercise.mistake(
    "You return the difference of the patched run alone. Say where it lies between the corrupted run, 0, and the clean "
    "one, 1."
)
def difference_of_patched_run(clean, corrupted, patched, answer, wrong):
    return differences(clean, corrupted, patched, answer, wrong)[2]


@exercise.mistake(
    "You do not divide by clean - corrupted. The effect is a share of the way from the corrupted run to the clean one, "
    "so that effects of different texts can be compared."
)
def not_divided(clean, corrupted, patched, answer, wrong):
    _, corrupted, patched = differences(clean, corrupted, patched, answer, wrong)
    return patched - corrupted


@exercise.mistake(
    "You divide by the clean difference. The whole way is clean - corrupted: if the patched run is the clean one, the "
    "effect must be 1."
)
def divided_by_clean(clean, corrupted, patched, answer, wrong):
    clean, corrupted, patched = differences(clean, corrupted, patched, answer, wrong)
    return (patched - corrupted) / clean


@exercise.mistake(
    "You do not subtract the corrupted difference from the patched one. A patch that changes nothing must have the "
    "effect 0."
)
def corrupted_not_subtracted(clean, corrupted, patched, answer, wrong):
    clean, corrupted, patched = differences(clean, corrupted, patched, answer, wrong)
    return patched / (clean - corrupted)


@exercise.mistake(
    "You divide the patched difference by the clean one. Count from the corrupted run: subtract its difference from "
    "both."
)
def patched_over_clean(clean, corrupted, patched, answer, wrong):
    clean, _, patched = differences(clean, corrupted, patched, answer, wrong)
    return patched / clean


@exercise.mistake(
    "You measure what is lost: your 0 is the clean run and your 1 the corrupted one. Here a clean activation is put "
    "into the corrupted run, so count from that: (patched - corrupted) / (clean - corrupted)."
)
def counted_from_clean(clean, corrupted, patched, answer, wrong):
    clean, corrupted, patched = differences(clean, corrupted, patched, answer, wrong)
    return (clean - patched) / (clean - corrupted)


@exercise.mistake(
    "You subtract the clean difference above: your effects are too small by 1. Subtract the corrupted one."
)
def clean_subtracted(clean, corrupted, patched, answer, wrong):
    clean, corrupted, patched = differences(clean, corrupted, patched, answer, wrong)
    return (patched - clean) / (clean - corrupted)


@exercise.mistake(
    "Your sign is wrong: above you subtract corrupted from patched, below clean from corrupted. Subtract the corrupted "
    "difference in both."
)
def sign_exchanged(clean, corrupted, patched, answer, wrong):
    return -patching_effect(clean, corrupted, patched, answer, wrong)


@exercise.mistake(
    "Your fraction is upside down. The whole way, clean - corrupted, stands below: it is the same for all patches."
)
def upside_down(clean, corrupted, patched, answer, wrong):
    clean, corrupted, patched = differences(clean, corrupted, patched, answer, wrong)
    return (clean - corrupted) / (patched - corrupted)


@exercise.mistake(
    "You use the logit of the answer alone. A patch may raise all logits, which makes nothing more probable: subtract "
    "the logit of the wrong token."
)
def answer_alone(clean, corrupted, patched, answer, wrong):
    clean, corrupted, patched = clean[-1, answer], corrupted[-1, answer], patched[:, -1, answer]
    return (patched - corrupted) / (clean - corrupted)


@exercise.mistake(
    "You add the two logits. Only their difference says which of the two tokens is more probable, and by how much."
)
def logits_added(clean, corrupted, patched, answer, wrong):
    clean, corrupted, patched = (x[..., -1, answer] + x[..., -1, wrong] for x in (clean, corrupted, patched))
    return (patched - corrupted) / (clean - corrupted)


@exercise.mistake(
    "You take differences of probabilities. The task asks for logits: a probability near 0 or 1 hardly moves, however "
    "much the logits do."
)
def of_probabilities(clean, corrupted, patched, answer, wrong):
    clean, corrupted, patched = differences(*map(softmax, (clean, corrupted, patched)), answer, wrong)
    return (patched - corrupted) / (clean - corrupted)


@exercise.mistake("You use the logits after the first token. The question is answered after the last one.")
def after_first_token(clean, corrupted, patched, answer, wrong):
    clean, corrupted, patched = differences(clean[:1], corrupted[:1], patched[:, :1], answer, wrong)
    return (patched - corrupted) / (clean - corrupted)


@exercise.mistake(
    "You take the mean over all tokens. The question is answered after the last one: use its logits alone."
)
def mean_over_tokens(clean, corrupted, patched, answer, wrong):
    clean, corrupted, patched = ((x[..., answer] - x[..., wrong]).mean(axis=-1) for x in (clean, corrupted, patched))
    return (patched - corrupted) / (clean - corrupted)


@exercise.mistake(
    "You return an effect for every token. The question is answered after the last one: one effect for each patched "
    "run, [N]."
)
def effect_for_every_token(clean, corrupted, patched, answer, wrong):
    clean, corrupted, patched = (x[..., answer] - x[..., wrong] for x in (clean, corrupted, patched))
    return (patched - corrupted) / (clean - corrupted)


@exercise.mistake(
    "You cut the effects off at 0 and 1. An effect below 0, or above 1, is no error but a finding: the patch makes "
    "things worse, or does more than the clean text."
)
def cut_off(clean, corrupted, patched, answer, wrong):
    return np.clip(patching_effect(clean, corrupted, patched, answer, wrong), 0, 1)


@exercise.mistake("You take absolute values. An effect below 0 is a finding: the patch makes things worse.")
def absolute(clean, corrupted, patched, answer, wrong):
    return np.abs(patching_effect(clean, corrupted, patched, answer, wrong))


@exercise.mistake("You take the mean over the patched runs. Each of them has an effect of its own: the result is [N].")
def mean_over_runs(clean, corrupted, patched, answer, wrong):
    return patching_effect(clean, corrupted, patched, answer, wrong).mean()
