"""The line under the form that tells the state before a run, and its comparison of all optimizers."""

import asyncio
import sys

import pytest
import torch
from running import until

import diffopt_widgets as dw
from diffopt_widgets.state_size.models import Choice
from diffopt_widgets.state_size.words import bytes_words, state_sentence
from diffopt_widgets.widgets.state_size import card as state_size
from diffopt_widgets.widgets.state_size.card import StateSize


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(state_size, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(state_size, "OPENING_SECONDS", 0.0)


def sent(widget, action):
    """Return the states that an action sends to the page."""
    if getattr(widget.comm, "kernel", widget.comm) is None:
        pytest.skip("outside a kernel ipywidgets 7 has no comm to send through")
    messages = []
    widget._send = lambda message, buffers=None: messages.append(message)
    action()
    del widget._send
    return [message["state"] for message in messages if message.get("method") == "update"]


@pytest.mark.slow
def test_the_sentence_is_what_memory_says():
    card = StateSize(dw.Settings("PRODIGY", slice_p=11))
    card.choose(model="sd15", rank=8, layers="blocks", dtype="bfloat16")
    card.count()
    size = dw.memory(card.settings, "sd15", lora=8, layers="blocks", dtype="bfloat16")
    assert card.shown["sentence"] == f"PRODIGY: {bytes_words(size)} of state for an SD 1.5 LoRA of rank 8"
    assert card.shown["details"].startswith("3,391,488 weights in bfloat16 in the transformer blocks of its UNet")
    assert not card.shown["pending"]


@pytest.mark.slow
def test_an_optimizer_that_chooses_by_names_says_whose_names_are_meant():
    card = StateSize(dw.Settings("MUON"))
    card.choose(rank=4)
    card.count()
    assert card.shown["details"].endswith("; it depends on the names of the layers, here diffusers'")
    card.settings = dw.Settings("SGD")
    card.count()
    assert "names" not in card.shown["details"]


def test_words_for_every_size():
    sizes = {
        0: "0 B",
        999: "999 B",
        1000: "1.0 kB",
        9_950: "10 kB",
        999_499: "999 kB",
        999_500: "1.0 MB",
        21e9: "21 GB",
    }
    assert {size: bytes_words(size) for size in sizes} == sizes
    full = Choice("flux", None)
    assert state_sentence("SGD", full, 0) == "SGD: no state for a full fine-tune of Flux.1 dev's transformer"
    assert state_sentence("LION", full, "LION needs lion-pytorch") == "LION needs lion-pytorch"


def test_it_counts_by_itself_after_a_pause_and_only_once():
    async def script():
        card = StateSize(dw.Settings("ADAMW"))
        assert card.shown == {"sentence": "", "details": "", "pending": True}
        await until(lambda: not card.shown["pending"])
        first = card.shown
        card.settings = dw.Settings("SGD")
        assert card.shown == {**first, "pending": True}  # says whose it is
        await until(lambda: not card.shown["pending"])
        assert card.shown["sentence"] == "SGD: no state for an SDXL LoRA of rank 64"
        card.settings = dw.Settings("ADAMW", lr=0.5, schedule="COSINE")  # neither changes the state
        assert card.shown == first

    asyncio.run(script())


def test_typing_counts_the_last_settings_only(monkeypatch):
    counted = []
    original = StateSize._find
    monkeypatch.setattr(StateSize, "_find", lambda self, settings: (counted.append(settings), original(self, settings)))

    async def script():
        card = StateSize(dw.Settings("ADAMW"))
        for beta in (0.1, 0.2, 0.3):
            card.settings = dw.Settings("ADAMW", beta1=beta)
        await until(lambda: not card.shown["pending"])

    asyncio.run(script())
    assert counted == [dw.Settings("ADAMW", beta1=0.3)]


@pytest.mark.slow
def test_all_optimizers_come_one_after_the_other_the_smallest_first():
    async def script():
        card = StateSize(dw.Settings("PRODIGY", slice_p=11))
        card.compare()
        await until(lambda: any(bar["words"] for bar in card.bars))
        assert {bar["key"] for bar in card.bars} == set(dw.list_optimizers())
        assert not all(bar["words"] for bar in card.bars)
        await until(lambda: all(bar["words"] for bar in card.bars))
        return card

    card = asyncio.run(script())
    shares = [bar["share"] for bar in card.bars]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert [bar["why"] for bar in card.bars] == [""] * len(shares)
    assert [bar["key"] for bar in card.bars if bar["own"]] == ["PRODIGY"]
    words = {bar["key"]: bar["words"] for bar in card.bars}
    assert words["ADAMW"] == "743 MB"  # 8 bytes for each of 92.9 million weights
    assert words["PRODIGY"] == bytes_words(dw.memory(card.settings, "sdxl", lora=64))  # as in the form, not the default
    card.compare(on=False)
    assert card.bars == []


@pytest.mark.slow
def test_what_would_hold_up_the_event_loop_is_not_counted():
    card = StateSize(dw.Settings("pytorch_optimizer:ScalableShampoo"))
    card.choose(model="sd15", rank=None)
    card.count()
    assert "is not counted here: its step takes too many operations" in card.shown["sentence"]
    assert "takes as long as it needs" in card.shown["sentence"]


@pytest.mark.slow
def test_an_optimizer_that_is_not_installed_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "lion_pytorch", None)
    card = StateSize(dw.Settings("LION"))
    card.count()
    assert card.shown["sentence"].startswith("LION needs lion-pytorch")
    card.settings = dw.Settings("ADAMW")
    card.compare()
    card.count()
    assert card.bars[-1]["key"] == "LION"
    assert 'pip install --upgrade "lion-pytorch' in card.bars[-1]["why"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rank": 0}, "whole number from 1 to 1024"),
        ({"rank": 1025}, "whole number"),
        ({"rank": 2.5}, "whole number"),
        ({"rank": True}, "whole number"),
        ({"rank": "x" * 10_000}, "whole number"),
        ({"model": "sd9"}, "choose one of sd15, sdxl, flux"),
        ({"layers": ""}, "choose one of attention"),
        ({"dtype": "float64"}, "choose one of float32"),
        ({"colour": "red"}, "unexpected keyword"),
    ],
)
def test_what_the_page_sends_is_checked(changes, words):
    card = StateSize(dw.Settings("SGD"))
    card._handle_custom_msg({"choose": changes}, [])
    assert words in card.wrong
    assert len(card.wrong) < 200
    assert card.choice == Choice()
    card._handle_custom_msg({"choose": {"rank": 16}}, [])
    assert (card.wrong, card.chosen["rank"]) == ("", 16)


@pytest.mark.parametrize("content", [None, "compare", {}, {"choose": 5}, {"compare": "yes"}])
def test_other_messages_do_nothing(content):
    card = StateSize(dw.Settings("SGD"))
    card._handle_custom_msg(content, [])
    assert (card.choice, card.comparing, card.wrong) == (Choice(), False, "")


def test_a_change_of_the_settings_sends_at_most_one_small_message():
    card = StateSize(dw.Settings("ADAMW"))
    card.count()
    card.settings = dw.Settings("SGD")
    card.count()
    (state,) = sent(card, lambda: setattr(card, "settings", dw.Settings("ADAMW")))
    assert set(state) == {"shown"}
    assert len(sent(card, lambda: setattr(card, "settings", dw.Settings("LION")))) == 1  # pending
    assert sent(card, lambda: setattr(card, "settings", dw.Settings("LION", beta1=0.5))) == []


def test_it_follows_the_form_of_the_bench():
    async def script():
        bench = dw.lab(dw.Settings("SGD"))
        await until(lambda: not bench.size.shown["pending"])
        assert bench.size.shown["sentence"].startswith("SGD: no state")
        bench.form.choose("LION")
        assert bench.size.settings.optimizer == "LION"
        await until(lambda: not bench.size.shown["pending"])
        assert bench.size.shown["sentence"].startswith("LION: 372 MB")

    asyncio.run(script())


def test_without_an_event_loop_nothing_is_counted_until_asked():
    card = StateSize(dw.Settings("ADAMW"))
    assert card.shown["pending"]
    assert card.shown["sentence"] == ""


def test_counting_leaves_torch_as_it_was():
    state = torch.get_rng_state()
    card = StateSize(dw.Settings("PRODIGY"))
    card.count()
    assert torch.equal(torch.get_rng_state(), state)
