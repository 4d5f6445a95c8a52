"""Texts and a vocabulary that try to be HTML, scripts, or to change what stands around them."""

HOSTILE_TEXTS = (
    "<svg/onload=window.hacked=1><img/src/onerror=window.hacked=1>",
    "<img src=x onerror=window.hacked=1>",
    "</script><script>window.hacked=1</script>",
    "\u202eevil\u202c \u2028line\u2029 zero\u200bwidth \ufeff",
)
HOSTILE_TOKENS = (
    "<svg/onload=window.hacked=1>",
    "<img/src/onerror=window.hacked=1>",
    "<img src=x onerror=window.hacked=1>",
    "</script><script>window.hacked=1</script>",
    "<!--<script>",
    "javascript:window.hacked=1",
    "\u202eevil",
    "\u2066\u2028\u2029",
    "\u200b",
    "\ufeff",
    "\u0000\u001b[31m",
    "\"'`&amp;&lt;",
    "${window.hacked=1}",
    "]]>",
)


def hostile_model(folder):
    """Save a small model with a tokenizer.json of HOSTILE_TOKENS and letters in a folder, and load both."""
    import tokenizers

    from minigpt import GPT2, GPT2Config, Tokenizer

    pieces = ["[UNK]", *"abcdefgh", *HOSTILE_TOKENS]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    backend.decoder = tokenizers.decoders.Fuse()
    Tokenizer(backend).save_pretrained(folder)
    config = GPT2Config(vocab_size=len(pieces), n_positions=20, n_embd=8, n_layer=2, n_head=2, initializer_range=0.5)
    GPT2.random(config, seed=1).save_pretrained(folder)
    return GPT2.from_pretrained(folder), Tokenizer.from_pretrained(folder)


# No element may come from a text, and no character that turns others around may stand in the page as it is.
IS_HARMED = """
() => [
  window.hacked,
  document.querySelector("bdi > *, title > *, option > *, img, iframe, object, embed, [onerror], [onload]")?.outerHTML,
  [...document.querySelectorAll("#view bdi, #panel bdi, #map bdi")].find((e) => /[\\u202a-\\u202e\\u2066-\\u2069\\u2028\\u2029\\u200b\\ufeff]/.test(e.textContent))?.textContent,
].filter(Boolean)
"""


def is_harmed(tab):
    """Return what a hostile text has done to the page: an empty list if nothing."""
    return tab.page.evaluate(IS_HARMED)
