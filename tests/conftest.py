import os

# Nothing in the tests may reach for a network; before huggingface_hub is imported, which reads this once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import hypothesis
import pytest
import transformers

hypothesis.settings.register_profile(
    "minigpt", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("minigpt")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def pytest_report_header(config):
    if config.option.markexpr == "not official":
        return "the checks against the official weights are deselected; run them with: pytest -m official"


@pytest.fixture(scope="session")
def shakespeare():
    from minigpt import GPT2

    return GPT2.from_pretrained("shakespeare")


@pytest.fixture(scope="session")
def shakespeare_tokenizer():
    from minigpt import Tokenizer

    return Tokenizer.from_pretrained("shakespeare")
