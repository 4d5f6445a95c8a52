"""From the notation of the grammar to its graph.

The notation is the text itself, with

    [red|dark blue]         one of these, all equally probable; they may nest, and one may be empty
    [70% red|30% blue]      one of these, with these probabilities
    {hero:child}            draw the hero from the pool "child", among the words not drawn before, and say its name
    {hero}                  say the name of the word drawn as hero
    {hero.his}              say an attribute of it; {hero:child.kind} draws a word and says an attribute
    {spot of place.spots}   draw a spot from a list that belongs to the word drawn as place
    {a thing}               say it with its article: a kite, an umbrella
    {Hero.he}               a role with a capital letter: say it with a capital letter
    <weather>               another rule of the grammar, by its name

A line break is a space, or nothing after [ or | and before | or ]. An empty line begins a new paragraph.
"""

import re

from minigpt.stories.graph import END, Choice, Draw, Literal, Reference

SLOT = re.compile(r"\{(?:(a|A) )?(\w+)(?::(\w+)| of (\w+)\.(\w+))?(?:\.(\w+))?\}")
SHARE = re.compile(r"(\d+)% ")


def compile_rule(name, rules, pools, following=END, within=()):
    """Return the first node of a rule's graph, whose ends lead to the node `following`. Raises ValueError."""
    if name not in rules:
        raise ValueError(f"there is no rule <{name}>")
    if name in within:
        raise ValueError(f"the rule <{name}> contains itself and would never end")
    tokens = _tokens(name, rules[name])

    def sequence(depth):
        """Return the parts up to a bar, a bracket or the end; a choice is a list of such sequences."""
        parts = []
        while tokens and tokens[0] not in "|]":
            token = tokens.pop(0)
            if token != "[":
                parts.append(token)
                continue
            options = [sequence(depth + 1)]
            while tokens and tokens[0] == "|":
                tokens.pop(0)
                options.append(sequence(depth + 1))
            if not tokens:
                raise ValueError(f"a bracket in <{name}> is not closed")
            tokens.pop(0)
            parts.append(options)
        if depth == 0 and tokens:
            raise ValueError(f"{tokens[0]!r} outside of brackets in <{name}>")
        return parts

    def link(parts, node):
        """Return the first node of the parts; the last one leads to `node`."""
        for part in reversed(parts):
            if isinstance(part, list):
                node = choice(part, node)
            elif part[0] == "<":
                node = compile_rule(part[1:-1], rules, pools, node, (*within, name))
            elif part[0] == "{":
                node = slot(part, node)
            else:
                node = Literal(part, node)
        return node

    def choice(options, node):
        shares = [SHARE.match(parts[0]) if parts and isinstance(parts[0], str) else None for parts in options]
        if not any(shares):
            return Choice([(1 / len(options), link(parts, node)) for parts in options])
        if not all(shares) or sum(int(share[1]) for share in shares) != 100:
            raise ValueError(f"the shares of a choice in <{name}> are not 100% together: {options}")
        weighted = []
        for share, (first, *rest) in zip(shares, options, strict=True):
            first = first[share.end() :]
            weighted.append((int(share[1]) / 100, link([first, *rest] if first else rest, node)))
        return Choice(weighted)

    def slot(text, node):
        match = SLOT.fullmatch(text)
        if not match:
            raise ValueError(f"{text} in <{name}> is not a slot")
        article, role, source, owner, of, attribute = match.groups()
        is_capitalised = article == "A" or role[0].isupper()
        role = role.lower()
        node = Reference(role, attribute or "name", article is not None, is_capitalised, node)
        if source is not None and source not in pools:
            raise ValueError(f"{text} in <{name}>: there is no pool {source!r}")
        if source or owner:
            node = Draw(role, owner, of if owner else pools[source], node)
        return node

    return link(sequence(0), following)


def _tokens(name, notation):
    """Split a notation into brackets, bars, slots, names of rules and texts. Raises ValueError."""
    notation = re.sub(r"\s*\n\s*(?=[\]|])|(?<=[\[|])\s*\n\s*", "", notation.strip())
    notation = "\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", notation))
    tokens = re.findall(r"[\[|\]]|\{[^}]*\}|<[^>]*>|[^\[|\]{<]+", notation)
    if "".join(tokens) != notation:
        raise ValueError(f"a brace or angle bracket in <{name}> is not closed")
    return tokens
