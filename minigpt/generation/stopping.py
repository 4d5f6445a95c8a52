"""When a text is finished, for every kind of search."""

import numpy as np


def finished_rows(sequences, options, stopping_criteria=None):
    """Return which sequences end with an end-of-text id, or are finished for the criteria;  [N, T] -> bool [N]."""
    finished = (sequences[:, -1:] == np.array(options.eos_token_id, np.int64)).any(axis=1)
    if stopping_criteria is not None:
        finished |= np.asarray(stopping_criteria(sequences), bool)
    return finished
