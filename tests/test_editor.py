"""What an editor finds: definitions, signatures, docstrings and completions of the names that minigpt imports lazily."""

import ast
from pathlib import Path

import jedi
import pytest

import minigpt

ROOT = Path(__file__).parents[1]


def at_end_of(code):
    """Return jedi's view of the code, with the cursor behind its last character."""
    return jedi.Script(code, path=ROOT / "example.py", project=jedi.Project(ROOT, load_unsafe_extensions=False))


@pytest.mark.parametrize("name", minigpt.__all__)
def test_every_public_name_is_found_where_it_is_defined(name):
    (definition,) = at_end_of(f"from minigpt import {name}").goto(follow_imports=True)
    thing = getattr(minigpt, name)
    expected = thing.__name__ if name == "ops" else f"{thing.__module__}.{name}"
    assert definition.full_name == expected and definition.module_path.suffix == ".py"
    assert definition.docstring(raw=True).strip()


def test_the_stub_names_what_the_package_has():
    stub = ast.parse((ROOT / "minigpt" / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    modules = {alias.asname: node.module for node in imports for alias in node.names}
    assert modules == minigpt._MODULES | {"ops": "minigpt"}


def test_a_class_has_its_signature():
    (signature,) = at_end_of("from minigpt import GPT2Config\nGPT2Config(").get_signatures()
    assert [parameter.name for parameter in signature.params][:3] == ["vocab_size", "n_positions", "n_embd"]
    (signature,) = at_end_of("from minigpt import GPT2\nGPT2.from_pretrained(").get_signatures()
    assert {"name", "ops", "quantize", "local_files_only"} <= {parameter.name for parameter in signature.params}
    assert "gpt2" in signature.docstring()


@pytest.mark.parametrize("model", ['GPT2.from_pretrained("gpt2")', "GPT2.random(GPT2Config())"])
def test_the_methods_of_a_model_are_completed(model):
    code = f"from minigpt import GPT2, GPT2Config\nmodel = {model}\n"
    assert "generate" in {completion.name for completion in at_end_of(f"{code}model.gen").complete()}
    (method,) = at_end_of(f"{code}model.generate").infer()
    assert method.type == "function" and method.full_name == "minigpt.gpt2.GPT2.generate"


@pytest.mark.parametrize(
    ("call", "type_name"),
    [
        ('minigpt.step("stories", "Once")', "Steps"),
        ('minigpt.step("stories", "Once").why("embed", 0, 0)', "Why"),
        ('minigpt.step("stories", "Once").attribution("She")', "Attribution"),
        ('looking.gradient_steps(model, tokenizer, "Once").why("embed", 0, 0)', "Why"),
        ('looking.attention_maps(model, tokenizer, "Once")', "AttentionMaps"),
        ('looking.logit_lens(model, tokenizer, "Once")', "LogitLens"),
        ('looking.ablate_heads(model, tokenizer, "Once", "She")', "Ablation"),
        ('looking.patch(model, tokenizer, "a", "b", "She", "He")', "Patching"),
        ('looking.patch_heads(model, tokenizer, "a", "b", "She", "He")', "HeadPatching"),
        ('looking.ablate_layers(model, tokenizer, "Once", "She")', "Ablation"),
        ("looking.head_scores(model)", "HeadScores"),
        ('looking.activation_statistics(model, tokenizer, ["Once"])', "Statistics"),
        ('looking.steering_direction(model, tokenizer, ["a"], ["b"], 1)', "Direction"),
        ('looking.steer(model, tokenizer, "Once", direction)', "Steering"),
        ("looking.edited(model, {})", "EditedGPT2"),
        ('looking.beam_tree(model, tokenizer, "Once")', "BeamTree"),
        ('looking.loss_curves("folder")', "LossCurves"),
        ("stories.story(rng)", "Story"),
        ('stories.find_problem("Once")', "Problem"),
        ("judge(model, tokenizer)", "Judgement"),
    ],
)
def test_results_have_types(call, type_name):
    code = "import minigpt\nfrom minigpt import looking, stories\nfrom minigpt.stories.judge import judge\n"
    names = {name.name for name in at_end_of(f"{code}result = {call}\nresult").infer()}
    assert type_name in names
