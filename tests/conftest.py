import os

import pytest


def pytest_configure(config):
    # Only the tests of the official weights may reach for a network. Before the first import of huggingface_hub, which
    # reads this once.
    if config.option.markexpr != "official":
        os.environ["HF_HUB_OFFLINE"] = "1"
    import hypothesis
    import transformers

    hypothesis.settings.register_profile(
        "minigpt", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
    )
    hypothesis.settings.load_profile("minigpt")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def pytest_report_header(config):
    if config.option.markexpr != "official":
        return "the checks against the official weights are deselected; run them with: pytest -m official"


@pytest.fixture(scope="session")
def shakespeare():
    from reference import SHAKESPEARE

    from minigpt import GPT2

    return GPT2.from_pretrained(SHAKESPEARE)


@pytest.fixture(scope="session")
def shakespeare_tokenizer():
    from reference import SHAKESPEARE

    from minigpt import Tokenizer

    return Tokenizer.from_pretrained(SHAKESPEARE)
