"""Tables and pools that contradict themselves are refused."""

import re

import pytest

from minigpt.stories.grammar import Grammar
from minigpt.stories.pools import merge_pools, pool_from_names, pool_from_table


def test_tables_that_are_not_a_pool():
    with pytest.raises(ValueError, match="1 cells for 2 columns: Bob"):
        pool_from_table("name he", "Ann | she\n Bob")
    with pytest.raises(ValueError, match=re.escape("the lists of [spots] differ in length")):
        pool_from_table("name [spots]", "wood | a, b\n lake | a")
    ann = pool_from_names("Ann")
    with pytest.raises(ValueError, match="a word is in two pools"):
        Grammar({"story": "{x:child}"}, {"child": merge_pools(ann), "other": ann})
