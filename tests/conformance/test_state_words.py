"""Texts of the catalogue about memory: their numbers come from the table of state sizes, and the table from `dw.memory`."""

import functools
import math
import re

import pytest
import torch
from pytorch_optimizer import AdaFactor

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.run_options import RUN_OPTIONS
from diffopt_widgets.catalogue.schedules import SCHEDULES, TRAINING_OPTIONS
from diffopt_widgets.catalogue.state_sizes import (
    DTYPES,
    TABLE,
    read_table,
    state_sentence,
    state_table,
    state_words,
    write_table,
)
from diffopt_widgets.cli.reference import reference_pages
from diffopt_widgets.runs.comparisons import comparisons
from diffopt_widgets.settings import Settings
from diffopt_widgets.state_size.measured import state_bytes
from diffopt_widgets.state_size.models import MODELS, Choice, find_model, lora_tensors
from diffopt_widgets.state_size.table import VARIANTS, row_of, rows, sizes

ROWS = {row_of(settings): settings for settings in rows()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what back ends say
@pytest.mark.parametrize("name", ROWS)
def test_the_table_is_what_memory_counts(name):
    assert sizes(ROWS[name]) == state_table().sizes[name]


def test_every_optimizer_and_variant_is_in_the_table():
    assert set(state_table().sizes) == set(ROWS)
    assert state_table().models == {key: model.title for key, model in MODELS.items()}
    assert write_table(read_table(TABLE.read_text("utf-8"))) == TABLE.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ROWS if not name.startswith("SOAP")])  # it takes a second
def test_a_cell_of_each_row_is_what_memory_counts(name):
    choice = Choice("sd15", 4)
    told = dw.memory(ROWS[name], "sd15", lora=4) / choice.weights()
    assert state_table().sizes[name]["float32"]["4"][0] == float(f"{told:.4g}")


@pytest.mark.parametrize("key", list_optimizers())
def test_the_summary_ends_with_the_size_of_the_state(key):
    assert state_sentence(key)
    assert spec(key).summary.endswith(f" {state_sentence(key)}")
    numbers = [float(text.replace(",", "")) for text in re.findall(r"\d[\d,]*\.?\d*", state_words(key))]
    full = state_table().sizes[key]["float32"]["full"]
    assert not numbers or numbers[0] == pytest.approx(min(full), abs=0.06, rel=0.01) or min(full) < 0.05


def test_a_sentence_tells_what_differs_between_models_and_precisions():
    assert state_sentence("ADAMW_8BIT") == (
        "State per weight at the defaults: 2 bytes, 2 to 4.8 in LoRAs of rank 4 to 64 (AdamW: 8); as much with weights in "
        "bfloat16 (AdamW: 4)."
    )
    words = state_sentence("CAME")
    assert "8.3 bytes on SD 1.5, 4.8 on SDXL, 4 on Flux.1 dev" in words  # 8.26, 4.76 and 4.00 measured
    assert "as much with weights in bfloat16 (AdamW: 4)" in words
    assert state_sentence("SGD") == "State per weight at the defaults: none."


def test_an_optimizer_that_is_new_and_not_yet_in_the_table_has_no_sentence():
    assert state_sentence("NEW") == ""
    assert state_words("NEW") == "a size that is not counted yet"


def texts_of(entry):
    """Yield every text of an optimizer that a user reads, with where it stands."""
    yield "summary", entry.summary
    yield "rate", entry.rate_words
    for use in (entry.lr, *entry.uses):
        advice = f"{use.advice.words}. {use.advice.reason}" if use.advice else ""
        yield from ((use.name, text) for text in (use.option.help, use.option.null_words, use.note, use.reason, advice))
    yield from ((f"preset {preset.key}", preset.why) for preset in entry.presets)
    yield from ((f"rule {rule.id}", rule.message) for rule in entry.rules)
    yield from ((f"hidden {hidden.argument}", hidden.reason) for hidden in entry.hidden)
    yield from (("remedy", f"{remedy.cause}. {remedy.advice}") for remedy in entry.remedies)


def all_texts():
    """Yield every text of the catalogue and of the comparisons, with where it stands."""
    for key in list_optimizers():
        yield from ((f"{key} {where}", text) for where, text in texts_of(spec(key)))
    yield from ((f"training {option.name}", option.help) for option in TRAINING_OPTIONS)
    yield from ((f"run {name}", f"{use.option.help} {use.note}") for name, use in RUN_OPTIONS.items())
    yield from ((f"schedule {schedule.key}", schedule.summary) for schedule in SCHEDULES.values())
    yield from ((f"comparison {comparison.key}", comparison.look_for) for comparison in comparisons())


MEMORY = re.compile(r"\b(memory|VRAM|bytes?|[kMG]i?B|states?|state tensors?)\b")
AMOUNT = re.compile(
    r"\d\s*%|\b[\d.,]+ (bytes?|[kMG]i?B)\b|\b(one|two|three|four|five|six|a few) (bytes?|state tensors?)\b"
    r"|\b(half|halves|third|quarter|fifths?|tenth|twice|double|thrice|fraction|times|percent|most of|all of|nearly all"
    r"|as much|close to|little more)\b"
)

ALLOWED = {
    # text: the check of it, or the reason why it is no size of a state
    "in a second bfloat16 value (2 bytes per weight)": lambda: all(
        dw.memory(rounded(key, kahan=True), [(64, 32)], dtype="bfloat16")
        - dw.memory(rounded(key, kahan=False), [(64, 32)], dtype="float32")
        == 2 * 64 * 32
        for key in ("ADAMW", "LION")
    ),
    "saves nearly as much memory as the trained weights take": lambda: all(
        max(math.prod(tensor.shape) for tensor in choice.tensors())
        < 0.05 * choice.weights()  # the gradient that is left
        for choice in (Choice(model, rank) for model in MODELS for rank in (None, 4, 64))
    ),
    "saves most of the memory that the estimate needs": lambda: all(
        thin - adamw < (whole - adamw) / 2 for whole, thin, adamw in cells("PRODIGY", "PRODIGY slice_p=11", "ADAMW")
    ),
    "brings the state close to Adam's": lambda: all(
        thin < 1.1 * adam for thin, adam in cells("PRODIGY slice_p=11", "ADAM")
    ),
    "cost 4 bytes each for their scale: 0.2% of the state at 2048, 6% at 64": lambda: (
        (f"{4 / 2048:.1%}", f"{4 / 64:.0%}") == ("0.2%", "6%")
        and dw.memory(Settings("CAME_8BIT", quant_block_size=64), [(256, 256)])
        - dw.memory(Settings("CAME_8BIT", quant_block_size=2048), [(256, 256)])
        == 256 * 256 * 4 // 64 - 256 * 256 * 4 // 2048
    ),
    "saves nearly all of their memory for large embeddings and heads": lambda: (
        dw.memory(Settings("MUON_ADV", adam_nnmf_factor=True), {"embed": (50_000, 768)})
        < 0.1 * dw.memory(Settings("MUON_ADV"), {"embed": (50_000, 768)})
    ),
    "keeps four state tensors where Adam keeps two": lambda: all(
        adan == pytest.approx(2 * adam, rel=1e-3) for adan, adam in cells("ADAN", "ADAM")
    ),
    "It keeps five state tensors": lambda: tensors_kept("DADAPT_ADAN") == 5,
    "Three state tensors where SGD needs none": lambda: (tensors_kept("DADAPT_SGD"), tensors_kept("SGD")) == (3, 0),
    "in place of momentum and of a falling rate; one state tensor.": lambda: tensors_kept("SCHEDULE_FREE_SGD") == 1,
    "So one state tensor gives both a long memory and a quick answer to each batch": lambda: (
        tensors_kept("ADOPT_ADV", Simplified_AdEMAMix=True)
        == tensors_kept("ADOPT_ADV")
        == 2  # the other has the squares
    ),
    "about two fifths of the memory": "tests/unit/runs/test_comparisons.py measures it on the run itself",
}


def cells(*names):
    """Return the bytes per weight of several rows, side by side for each model, training and precision."""
    table = state_table().sizes
    listed = [[v for dtype in DTYPES for sizes in table[name][dtype].values() for v in sizes] for name in names]
    return list(zip(*listed, strict=True))


def tensors_kept(key, **options):
    """Return how many numbers of 32 bits an optimizer keeps for each weight of a matrix, as a whole number."""
    return dw.memory(Settings(key, **options), [(300, 200)]) // (4 * 300 * 200)


def rounded(key, *, kahan):
    settings = Settings(key)
    own = {"stochastic_rounding": False} if "stochastic_rounding" in settings.options else {}
    return settings.replace(kahan_summation=kahan, **own)


@functools.cache
def generated():
    """Return the texts that are made from the table."""
    words = {state_sentence(key) for key in list_optimizers()} | {state_words(key) for key in list_optimizers()}
    words |= {state_words(key, **options) for key, changes in VARIANTS.items() for options in changes}
    return sorted(words, key=len, reverse=True)


def written_by_hand(text):
    """Return the sentences with an amount of memory in them, without what is generated or allowed."""
    for known in (*generated(), *ALLOWED):
        text = text.replace(known, "…")
    sentences = re.split(r"(?<=[.;:!?])\s+", text)
    return [sentence for sentence in sentences if MEMORY.search(sentence) and AMOUNT.search(sentence)]


def test_no_amount_of_memory_is_written_by_hand():
    assert {where: found for where, text in all_texts() if (found := written_by_hand(text))} == {}


@pytest.mark.parametrize(
    "text",
    [
        "It is slow. Little more than half of AdamW's memory.",
        "Lion with its momentum in 8 bits: about one byte of state per weight.",
        "Saves nearly half of Prodigy's memory.",
        "8 for a quarter of the memory at some loss of precision.",
        "A value adds 4 bytes per weight.",
        "Twice Adam's memory.".lower(),
        "As much memory as Adam.".lower(),
        "states in a fraction of a byte per weight",
        "It needs 2.5 GB more.",
    ],
)
def test_an_amount_that_is_written_by_hand_is_found(text):
    assert written_by_hand(text)


@pytest.mark.parametrize("words", [words for words, check in ALLOWED.items() if callable(check)])
def test_an_allowed_amount_is_checked(words):
    assert ALLOWED[words]()


def test_every_allowed_amount_still_stands_somewhere():
    texts = " ".join(text for _, text in all_texts())
    assert [words for words in ALLOWED if words not in texts] == []


def test_words_without_numbers_hold_for_all_models():
    """These compare two sizes in words, such as "saves a little memory"."""
    assert all(
        speed < plain
        for speed, plain in cells("PRODIGY_PLUS_SCHEDULE_FREE use_speed=true", "PRODIGY_PLUS_SCHEDULE_FREE")
    )
    assert all(
        half <= wide
        for half, wide in cells("PRODIGY_PLUS_SCHEDULE_FREE factored_fp32=false", "PRODIGY_PLUS_SCHEDULE_FREE")
    )
    assert all(factored < 0.3 * plain for factored, plain in cells("LION_ADV nnmf_factor=true", "LION_ADV"))
    assert all(low < adamw for low, adamw in cells("ADAFACTOR", "ADAMW")), "an AdamW of very low memory"
    assert all(more > 1.8 * adamw for more, adamw in cells("SOAP", "ADAMW")), "far more memory"
    assert all(whole > 1.5 * adamw for whole, adamw in cells("PRODIGY", "ADAMW")), "more state than AdamW"
    short_sides = dw.memory(Settings("SOAP", max_precondition_dim=64), "sd15", lora=4) / Choice("sd15", 4).weights()
    assert short_sides < 20 < min(state_table().sizes["SOAP"]["float32"]["4"]), "lower max_precondition_dim there"
    small, plain = (state_table().sizes[name]["float32"] for name in ("ADAMW_8BIT min_8bit_size=1", "ADAMW_8BIT"))
    assert max(small["4"]) < 0.6 * max(plain["4"]), "smallest 8-bit tensor: above all in LoRAs of low rank"
    assert min(small["full"]) > 0.95 * min(plain["full"])


def test_a_lora_has_fewer_bytes_per_weight_to_tell_where_its_weights_are_zero():
    """Prodigy keeps less for the second factor, which starts at zero, so its state in a LoRA is smaller."""
    assert any(not tensor.zero for tensor in lora_tensors(find_model("sd15"), 4))
    table = state_table().sizes["PRODIGY"]["float32"]
    assert max(table["64"]) < min(table["full"])


def test_adafactors_sizes_are_those_of_its_page_and_the_packages_own_are_others():
    weights = torch.nn.Parameter(torch.ones(1280, 1280))
    own = AdaFactor([weights])  # with the package's own defaults: a momentum in bfloat16
    weights.grad = torch.ones_like(weights)
    own.step()
    assert state_bytes(own) / 1280**2 == pytest.approx(2.006, abs=5e-4)
    assert dw.memory(Settings("ADAFACTOR"), [(1280, 1280)]) / 1280**2 == pytest.approx(0.006, abs=5e-4)
    page = reference_pages()["ADAFACTOR.md"]
    assert "All options are at the defaults below, unless named" in page
    assert "package's own defaults" not in page


@pytest.mark.parametrize("key", list_optimizers())
def test_the_preset_of_the_library_names_the_defaults_that_are_not_the_librarys(key):
    entry = spec(key)
    own = [use.name for use in (entry.lr, *entry.uses) if use.fixed]
    own += [hidden.argument for hidden in entry.hidden if hidden.value is not None]
    why = entry.preset("library").why
    assert all(name in why for name in own)
    assert ("except for" in why) == bool(own)
