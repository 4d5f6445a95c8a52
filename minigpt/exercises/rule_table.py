"""The table of what people do to a formula: a pattern, what they make of it, and the sentence that says so.

In a pattern every name of a single letter stands for any expression; in a sentence {a} is what stands for a, and {0}
the whole. rules.py makes a rule of each row.
"""

HALF = "without brackets `** 1/2` is first a power of 1, then a division by 2. The root is the power 1/2."
NEVER = "That may still count. Only -inf never does."
BRACKETS = "Your brackets are missing, or closed elsewhere: "

POWERS = (
    ("a / b", "a // b", "You divide with //, which rounds down. Divide with a single /."),
    ("np.sqrt(a)", "int(np.sqrt(a))", "You round {0} down to a whole number. Keep the fraction."),
    ("a / np.sqrt(b)", "a / b / 2", "You divide by {b}, then by 2: " + HALF),
    ("np.sqrt(a)", "a / 2", "You take half of {a}: " + HALF),
    ("np.sqrt(a)", "a", "The root is missing: it is taken of {a}."),
    ("np.sqrt(a)", "a**2", "You square {a}. Take its root."),
    ("np.sqrt(a / b)", "np.sqrt(a) / b", "You take the root of {a} alone. It is the root of the whole of {a} / {b}."),
    ("np.sqrt(a / b)", "a / np.sqrt(b)", "You take the root of {b} alone. It is the root of the whole of {a} / {b}."),
    ("np.sqrt(a + b)", "np.sqrt(a) + b", "You add {b} outside of the root. It belongs inside: {0}."),
    ("np.sqrt(a + b)", "a + np.sqrt(b)", "You take the root of {b} alone. It is the root of the whole sum: {0}."),
    ("np.sqrt(a + b)", "np.sqrt(a) + np.sqrt(b)", "You take two roots. Take one, of the whole sum: {0}."),
    ("np.sqrt(a) + b", "np.sqrt(a + b)", "You add {b} inside of the root. It belongs outside: {0}."),
    ("a**b", "a", "The power of {0} is missing."),
    ("a**b", "a * b", "You multiply {a} by {b}. It is a power: {0}."),
    ("a**b", "a ** (b + 1)", "Your power of {a} is one too high. It is {0}."),
    ("a**b", "a ** (b - 1)", "Your power of {a} is one too low. It is {0}."),
    ("a**2", "np.abs(a)", "You take the size of {a}. Take its square."),
    ("a - b**c", "(a - b) ** c", "You take the power of {a} - {b}. Only {b} has the exponent: {0}."),
    ("a * b**c", "(a * b) ** c", "You take the power of {a} * {b}. Only {b} has the exponent: {0}."),
)
FORGOTTEN = (
    ("a + b", "a", "The term {b} is missing: {0}."),
    ("a + b", "b", "The term {a} is missing: {0}."),
    ("a - b", "a", "You do not subtract {b}."),
    ("a - b", "-b", "You do not have {a}, from which {b} is subtracted."),
    ("a * b", "a", "You do not multiply by {b}."),
    ("a * b", "b", "The factor {a} is missing."),
    ("a @ b", "a", "You do not multiply by {b}."),
    ("a @ b", "b", "The factor {a} is missing."),
    ("a / b", "a", "You do not divide by {b}."),
    ("a / b", "1 / b", "The factor {a} is missing."),
    ("-a", "a", "The minus sign of {0} is missing."),
    ("np.where(a, b, c)", "b", "You leave out the condition {a}."),
    ("a and b and c", "b and c", "The condition {a} is missing."),
    ("a and b and c", "a and c", "The condition {b} is missing."),
    ("a and b and c", "a and b", "The condition {c} is missing."),
)
CHANGED_PLACES = (
    ("a - b", "b - a", "You exchange the two sides of {0}."),
    ("a / b", "b / a", "You exchange the two sides of {0}."),
    ("a @ b", "b @ a", "You exchange the two sides of {0}."),
    (
        "a.swapaxes(-1, -2)",
        "a.reshape(a.swapaxes(-1, -2).shape)",
        "You reshape {a}, which mixes the numbers of its rows. Transpose it.",
    ),
    ("a if b else c", "c if b else a", "You exchange the cases of {b}."),
    ("a < b", "a <= b", "You have the wrong side of a limit: where {a} equals {b}, it does not count."),
    ("a <= b", "a < b", "You have the wrong side of a limit: where {a} equals {b}, it counts, too."),
    ("a >= b", "a > b", "You have the wrong side of a limit: where {a} equals {b}, it counts, too."),
    *(
        (f"a {op} b", f"a {other} b", "You turn the comparison {0} round.")
        for op in ("<", "<=", ">", ">=")
        for other in ("<", "<=", ">", ">=")
        if op[0] != other[0]
    ),
    ("a == b", "a != b", "You turn the comparison {0} round."),
    ("a != b", "a == b", "You turn the comparison {0} round."),
    (
        "a @ b.swapaxes(-1, -2)",
        "unit(a) @ unit(b).swapaxes(-1, -2)",
        "You divide by the lengths, as for a cosine: {0}.",
    ),
    (
        "a @ b.swapaxes(-1, -2) / c",
        "unit(a) @ unit(b).swapaxes(-1, -2)",
        "You divide by the lengths of the vectors, as for a cosine. It is {0}.",
    ),
    ("np.where(a, b, c)", "np.where(a, c, b)", "You hide what should be seen, and the reverse."),
    *(
        ("np.where(a, b, -np.inf)", f"np.where(a, b, {low})", f"You have {low} where something is hidden. {NEVER}")
        for low in ("0", "-1", "-100", "-1e4", "-1e9")
    ),
    *(
        ("np.where(a, b, -np.inf)", f"np.where(a, b, b + {low})", f"You add {low} where something is hidden. {NEVER}")
        for low in ("-1", "-100", "-1e4", "-1e9")
    ),
)
OTHER_BRACKETS = (
    ("(a - b) * c", "a - b * c", BRACKETS + "{c} belongs to all of {a} - {b}."),
    ("(a - b) / c", "a - b / c", BRACKETS + "{c} divides all of {a} - {b}."),
    ("(a - b) / c * d", "a - b / c * d", BRACKETS + "{c} divides all of {a} - {b}."),
    ("a * (b + c)", "a * b + c", BRACKETS + "{a} belongs to all of {b} + {c}."),
    ("a / (b + c)", "a / b + c", BRACKETS + "divide by all of {b} + {c}."),
    ("a * (b - c)", "a * b - c", BRACKETS + "{a} belongs to all of {b} - {c}."),
    ("a / (b - c)", "a / b - c", BRACKETS + "divide by all of {b} - {c}."),
    ("(a - b) / (c - d)", "a - b / c - d", BRACKETS + "both differences in {0} are computed first."),
    ("(a - b) / (c - d)", "a - b / (c - d)", BRACKETS + "all of {a} - {b} is divided."),
    ("a * b + c", "a * (b + c)", BRACKETS + "{c} is added last, not to {b}."),
    ("a @ b + c", "a @ (b + c)", BRACKETS + "{c} is added last, not to {b}."),
    ("a * b - c", "a * (b - c)", BRACKETS + "{c} is subtracted last, not from {b}."),
    ("a + b * c", "(a + b) * c", BRACKETS + "{c} belongs to {b} alone."),
    ("a - b * c", "(a - b) * c", BRACKETS + "{c} belongs to {b} alone."),
    ("a / b * c + d", "(a * c + d) / b", BRACKETS + "only {a} is divided by {b} in {0}."),
)
OPERATORS = (
    ("a + b", "a - b", "You subtract {b}. It is {0}."),
    ("a + b", "a * b", "You multiply by {b}. It is {0}."),
    ("a + b", "np.concatenate([a, b], axis=-1)", "You put {a} and {b} side by side. Add them."),
    ("a - b", "a + b", "You add {b}. It is {0}."),
    ("a - b", "a / b", "You divide by {b}. It is {0}."),
    ("a * b", "a / b", "You divide by {b}. It is {0}."),
    ("a * b", "a + b", "You add {b}. It is {0}."),
    ("a / b", "a * b", "You multiply by {b}. It is {0}."),
    ("a / b", "a - b", "You subtract {b}. It is {0}."),
    ("a @ b", "a * b", "You multiply number by number with {b}. It is a matrix product: {0}."),
    ("a + b", "(a + b) / 2", "You take the mean of two terms. Take their sum, {0}."),
)
GUARDS = (
    *(
        ("a / b", f"a / (b + {small})", f"You add {small} to {{b}} before you divide by it. It is {{0}}.")
        for small in ("1", "1e-3", "1e-4")
    ),
)
TWICE = (
    *((f"a {op} b", f"a {op} b {op} b", "You have {b} twice in {0}.") for op in "+-*/"),
    *((f"a {op} b", f"a {op} (a {op} b)", "You have {a} twice in {0}.") for op in "+*"),
)
