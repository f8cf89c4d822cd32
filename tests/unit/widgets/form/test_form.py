"""The form without a browser: its traits, its messages, and what it does with nonsense from the page."""

import json
from dataclasses import replace
from xml.dom.minidom import parseString

import ipywidgets
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from unknown import Unknown

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.introspect.uncatalogued import spec_of
from diffopt_widgets.catalogue.run_options import RUN_OPTIONS, RunOptions
from diffopt_widgets.catalogue.schema import Standing
from diffopt_widgets.catalogue.state_sizes import state_words
from diffopt_widgets.settings import Settings, SettingsError
from diffopt_widgets.widgets.form.exchange import LONGEST_TEXT
from diffopt_widgets.widgets.form.form import Form
from diffopt_widgets.widgets.form.panel import mathml
from diffopt_widgets.widgets.form.schedule import SchedulePreview, restarts, schedule_points, schedule_svg
from diffopt_widgets.widgets.form.search import index_message, option_index


@pytest.fixture
def form():
    return Form(Settings("PRODIGY", schedule="COSINE"))


@pytest.fixture
def sent(form):
    """What goes out to the page."""
    if getattr(form.comm, "kernel", form.comm) is None:
        pytest.skip("outside a kernel ipywidgets 7 has no comm to send through")
    messages = []
    form._send = lambda message, buffers=None: messages.append(message)  # where ipywidgets 7 and 8 hand it to the comm
    return messages


def page_sends(form, **content):
    form._handle_custom_msg(content, [])


def test_it_is_an_ordinary_widget(form):
    box = ipywidgets.VBox([form])
    other = Form("ADAM")
    traitlets.link((form, "settings"), (other, "settings"))
    other.settings = Settings("LION", lr=1e-5)
    assert form.settings == other.settings == Settings("LION", lr=1e-5)
    assert box.children == (form,)
    assert Form("ADAM", layout={"width": "300px"}).layout.width == "300px"


def test_interact_calls_its_function_with_each_valid_value(form):
    calls = []
    box = ipywidgets.interactive(lambda settings, twice: calls.append((settings, twice)), settings=form, twice=True)
    assert box.children[0] is form
    assert form.description  # ipywidgets 7 reads it, and sets it where it is empty
    form.type("d_coef", "0.5")
    form.type("d_coef", "x")
    form.choose("LION")
    began = Settings("PRODIGY", schedule="COSINE")
    changed = [(began.replace(d_coef=0.5), True), (Settings("LION", schedule="COSINE"), True)]
    first = (
        [] if ipywidgets.__version__.startswith("7.") else [(began, True)]
    )  # version 7 calls it when it is displayed
    assert calls == [*first, *changed]


def test_the_value_is_the_settings_however_it_is_set(form, sent):
    heard = []
    form.observe(lambda change: heard.append((change["new"], form.settings, dict(form.errors))), "value")
    other, menu = Form("ADAM"), ipywidgets.Dropdown(options=["ADAM", "LION"])
    traitlets.link((form, "value"), (other, "value"))
    traitlets.dlink((menu, "value"), (other, "value"))
    assert form.value == form.settings == Settings("ADAM")
    menu.value = "LION"
    other.type("lr", "-1")
    other.type("lr", "0.5")
    assert form.value == form.settings == other.value == Settings("LION", lr=0.5)
    form.settings = "PRODIGY"
    assert other.value == other.settings == Settings("PRODIGY")
    assert heard == [(value, value, {}) for value in map(Settings, ("ADAM", "LION"))] + [
        (value, value, {}) for value in (Settings("LION", lr=0.5), Settings("PRODIGY"))
    ]
    assert len(sent) == len(heard)  # one message to the page for each


@pytest.mark.parametrize("name", ["settings", "value"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("PRODIGYY", "Did you mean PRODIGY"),
        (3, "settings are wanted, and this is an int"),
        (None, "settings are wanted, and this is None"),
    ],
)
def test_a_value_that_is_no_settings_is_refused_as_settings_are(form, name, value, words):
    before = form.settings
    with pytest.raises(SettingsError, match=words):
        setattr(form, name, value)
    assert form.value == form.settings == before


def test_unknown_keywords_and_optimizers_are_refused():
    with pytest.raises(TypeError, match="d_coef"):
        Form("PRODIGY", d_coef=1)
    with pytest.raises(SettingsError, match="Did you mean PRODIGY"):
        Form("PRODIGYY")


def test_the_first_message_holds_everything(form):
    state = form.get_state()
    assert state["panel"]["optimizer"] == "PRODIGY"
    assert state["state"]["controls"]["schedule"]["text"] == "COSINE"
    assert "<svg" in state["preview"]
    assert "Prodigy(" in state["code"]
    assert [key["key"] for group in state["menu"] for key in group["optimizers"]].count("PRODIGY") == 1
    assert "settings" not in state


@pytest.mark.parametrize(
    ("optimizer", "name", "text", "words"),
    [
        ("PRODIGY", "beta2", "0.99", "✓ in use"),
        ("PRODIGY", "beta2", "0.999", "✓ within the advice"),
        ("PRODIGY", "beta2", "0.9", None),
        ("PRODIGY", "beta2", "0.999x", None),
        ("PRODIGY", "use_bias_correction", "true", "✓ in use"),
        ("PRODIGY", "use_bias_correction", "false", None),
        ("ADAMW", "lr", "1e-3", "✓ within the advice"),
        ("ADAMW", "lr", "2e-3", None),
        ("ADAFACTOR", "relative_step", "false", None),
    ],
)
def test_advice_that_is_followed_says_so_and_a_range_is_followed_anywhere_in_it(optimizer, name, text, words):
    form = Form(optimizer)
    form.type(name, text)
    assert form.state["controls"][name].get("advised") == words


def test_a_fix_that_does_as_is_recommended_says_that_it_does():
    form = Form("DADAPT_SGD")
    form.type("momentum", "0.9")
    form.type("lr", "3")
    assert form.state["controls"]["lr"]["fix"] == "Set Learning rate to 1"
    assert form.state["controls"]["lr"]["fixed"]
    form.type("min_factor", "0.01")
    form.type("lr", "1")
    assert "fixed" not in form.state["controls"]["lr"]
    other = Form("PRODIGY")
    other.type("warmup", "0.1")
    assert other.state["controls"]["warmup"]["fix"] == "Set Warm-up to 0"
    assert "fixed" not in other.state["controls"]["warmup"]


def test_a_button_offers_what_is_recommended_unless_that_depends_on_the_mode():
    offers = {
        (key, name): Form(key).panel["controls"][name]["advice"]
        for key, name in (("PRODIGY", "beta2"), ("PRODIGY", "use_bias_correction"), ("ADAFACTOR", "relative_step"))
    }
    assert [offer["use"] for offer in offers.values()] == ["Use 0.99", "Turn on", ""]
    assert [offer["words"] for offer in offers.values()] == [
        "0.99 to 0.999",
        "on, but try both",
        "on in adaptive mode, off in constant mode",
    ]


def test_a_keystroke_is_answered_by_one_small_message(form, sent):
    page_sends(form, k="type", name="d_coef", text="0.5", page="p", n=1)
    (message,) = sent
    assert message["method"] == "update"
    assert set(message["state"]) == {"state", "code", "json"}
    assert message["state"]["state"]["seen"] == ["p", 1]
    assert message["state"]["state"]["controls"]["d_coef"] == {
        "text": "0.5",
        "changed": True,
        "advised": "✓ within the advice",
    }
    assert len(str(message)) < 3000


def test_a_switch_is_answered_by_one_message(form, sent):
    page_sends(form, k="choose", optimizer="ADAM", page="p", n=1)
    (message,) = sent
    assert message["state"]["panel"]["optimizer"] == "ADAM"
    assert form.settings == Settings("ADAM", schedule="COSINE")


def test_a_wrong_text_keeps_the_settings_and_is_told_as_a_trait(form):
    heard = []
    form.observe(lambda change: heard.append((change["name"], change["new"])), ["settings", "errors"])
    before = form.settings
    page_sends(form, k="type", name="d_coef", text="half")
    assert form.settings == before
    assert list(form.errors) == ["d_coef"]
    assert [name for name, _ in heard] == ["errors"]
    page_sends(form, k="type", name="d_coef", text="0.5")
    assert form.errors == {}
    assert form.settings == before.replace(d_coef=0.5)
    assert [name for name, _ in heard[1:]] in (["errors", "settings"], ["settings", "errors"])


def test_an_observer_sees_settings_and_errors_that_belong_together(form):
    seen = []
    form.observe(lambda change: seen.append((change["new"].options["d_coef"], dict(form.errors))), "settings")
    form.type("d_coef", "x")
    form.type("d_coef", "2")
    assert seen == [(2.0, {})]
    right = []
    form.observe(lambda _: right.append((form.settings.options["d_coef"], dict(form.errors))), "errors")
    form.type("d_coef", "x")
    form.type("d_coef", "5")
    assert right[-1] == (5.0, {})


def test_settings_set_from_code_update_the_page_once(form, sent):
    heard = []
    form.observe(lambda change: heard.append(change["new"]), "settings")
    wanted = Settings("ADAMW", lr=3e-4, schedule="LINEAR", weight_decay=0.1)
    form.settings = wanted
    assert heard == [wanted]
    assert len(sent) == 1
    assert form.state["controls"]["weight_decay"]["text"] == "0.1"
    form.settings = wanted
    assert len(sent) == 1


@pytest.mark.slow
def test_500_changes_end_in_the_right_state(form):
    for i in range(500):
        page_sends(form, k="type", name="d_coef", text=str(1 + i / 10), page="p", n=i)
    assert form.settings.options["d_coef"] == 1 + 499 / 10
    assert form.state["seen"] == ["p", 499]


def test_undo_takes_changes_back_one_place_at_a_time(form):
    before = form.settings
    for text in ("0.", "0.5"):
        form.type("d_coef", text)
    form.load("library")
    form.choose("LION")
    page_sends(form, k="undo")
    assert form.settings == Settings("PRODIGY")
    page_sends(form, k="undo")
    assert form.settings == before.replace(d_coef=0.5)
    page_sends(form, k="undo")
    assert form.settings == before
    assert form.state["undo"] == ""
    page_sends(form, k="undo")
    assert form.settings == before


def test_fix_reset_and_recommended_values_on_the_page_s_word(form):
    page_sends(form, k="type", name="lr", text="1e-4")
    assert form.state["controls"]["lr"]["fix"] == "Set Learning rate to 1"
    page_sends(form, k="fix", name="lr")
    assert form.settings.lr == 1.0
    page_sends(form, k="advise", name="beta2")
    assert form.settings.options["beta2"] == form.draft.advice("beta2").value
    page_sends(form, k="reset", name="beta2")
    assert form.settings.options["beta2"] == 0.999


@pytest.mark.parametrize("text", ["2", "2,0"])
def test_what_only_the_panel_before_has_is_typed_there(form, text):
    """On a slow connection the page still shows PRODIGY while the kernel is at SGD."""
    page_sends(form, k="choose", optimizer="SGD", panel="PRODIGY")
    shown = form.settings
    page_sends(form, k="type", name="d_coef", text=text, panel="PRODIGY")
    assert (form.settings, form.errors, form.notice) == (shown, {}, "")
    form.choose("PRODIGY")
    assert form.draft.texts["d_coef"] == text
    form.choose("SGD")
    page_sends(form, k="reset", name="d_coef", panel="PRODIGY")
    form.choose("PRODIGY")
    assert form.draft.texts["d_coef"] == "1"


def test_a_preset_of_only_the_panel_before_is_loaded_there(form):
    form.settings = unknown = Settings(spec_of(Unknown))
    page_sends(form, k="load", preset="recommended", panel="PRODIGY")
    assert (form.settings.optimizer, form.notice) == (unknown.optimizer, "")
    form.choose("PRODIGY")
    assert "recommended" in form.draft.parsed.presets


def test_what_both_panels_have_is_changed_in_the_one_that_was_chosen(form):
    page_sends(form, k="choose", optimizer="SGD", panel="PRODIGY")
    page_sends(form, k="type", name="lr", text="0.5", panel="PRODIGY")
    assert form.settings == Settings("SGD", lr=0.5, schedule="COSINE")


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"k": "explode"},
        {"k": "type"},
        {"k": "type", "name": "d_cof", "text": "1"},
        {"k": "type", "name": ["lr"], "text": "1"},
        {"k": "type", "name": "lr", "text": 1},
        {"k": "paste"},
        {"k": "paste", "text": ["{}"]},
        {"k": "choose", "optimizer": "NONE"},
        {"k": "load", "preset": "none"},
        {"k": "fix", "name": "nothing"},
        ["not", "an", "object"],
        None,
    ],
)
def test_nonsense_from_the_page_is_answered_by_a_notice(form, content):
    before = form.settings
    form._handle_custom_msg(content, [])
    assert "disagree" in form.notice
    assert (form.settings, form.errors) == (before, {})
    page_sends(form, k="dismiss")
    assert form.notice == ""


def test_a_text_that_is_far_too_long_is_marked_where_it_stands(form):
    page_sends(form, k="type", name="lr", text="9" * 1_000_000)
    assert form.notice == ""
    assert list(form.errors) == ["lr"]
    marks = form.state["controls"]["lr"]
    assert marks["text"].endswith("… (1,000,000 characters)")
    assert "is not a number" in marks["error"]
    assert len(str(form.state)) < 30_000


def test_pasted_settings_are_one_change_that_can_be_undone(form, sent):
    form.type("beta1", "0.8")
    before, wanted = form.settings, Settings("LION", lr=1e-5, schedule="REX", beta1=0.5)
    sent.clear()
    page_sends(form, k="paste", text=wanted.to_json(), page="p", n=3)
    (message,) = sent
    assert message["state"]["state"]["pasted"] == ["p", 3, []]
    assert form.settings == wanted
    assert form.state["undo"] == "paste settings"
    page_sends(form, k="paste", text=repr(wanted.replace(beta1=0.4)), page="p", n=4)
    page_sends(form, k="undo")
    assert form.settings == wanted
    page_sends(form, k="undo")
    assert form.settings == before
    assert form.draft.texts["beta1"] == "0.8"


def test_a_wrong_text_that_is_pasted_changes_nothing_and_comes_back_with_every_fault(form, sent):
    before = form.settings
    text = '{"optimizer": "LION", "lr": "<img src=x>", "options": {"beta1": 7}}'
    page_sends(form, k="paste", text=text, page="p", n=3)
    (message,) = sent
    assert set(message["state"]) == {"state"}
    page, number, faults = message["state"]["state"]["pasted"]
    assert (page, number) == ("p", 3)
    assert [fault.split(" = ")[0] for fault in faults] == ["beta1", "lr"]
    assert (form.settings, form.errors, form.notice) == (before, {}, "")
    page_sends(form, k="paste", text="x" * 1_000_000, page="p", n=4)
    assert "1,000,000 characters" in form.state["pasted"][2][0]
    with pytest.raises(SettingsError):
        form.paste("{}")
    form.paste(form.json)
    assert form.settings == before


@pytest.mark.slow
@given(
    st.sampled_from(sorted(Form("PRODIGY").panel["controls"])), st.text() | st.text(max_size=3).map(lambda s: s * 9999)
)
def test_any_text_is_kept_and_understood_or_marked(name, text):
    form = Form("PRODIGY")
    page_sends(form, k="type", name=name, text=text, page="p", n=1)
    marks = form.state["controls"][name]
    assert form.notice == ""
    assert marks["text"] == text or (len(text) > LONGEST_TEXT and marks["text"].startswith(text[:LONGEST_TEXT]))
    assert set(form.errors) <= {name}
    assert (marks.get("error", "") != "") == (name in form.errors)
    json.dumps(form.get_state(["panel", "state", "code", "json"]), ensure_ascii=False).encode()


@pytest.mark.slow
def test_the_list_of_options_travels_only_when_it_is_asked_for(form, sent):
    assert "nesterov" not in str(form.get_state())  # an option of other optimizers
    form._handle_custom_msg({"k": "index"}, [])
    (message,) = sent
    assert message["method"] == "custom"
    assert message["content"]["k"] == "index"
    options = message["content"]["options"]
    assert len(json.dumps(options)) < 80_000
    keys = options["optimizers"]
    found = {(entry["name"], keys[place]) for entry in options["entries"] for place in entry["optimizers"]}
    assert found == {(name, key) for key in list_optimizers() for name in Form(key).panel["controls"]}


@pytest.mark.slow
def test_the_long_help_tells_the_recommended_value_and_whose_advice_it_is(form):
    facts = {fact["term"]: fact["text"] for fact in form.panel["controls"]["slice_p"]["facts"]}
    assert (
        facts["Recommended"]
        == f"11 – The state then takes {state_words('PRODIGY', slice_p=11)} (OneTrainer's defaults)"
    )
    assert (facts["Allowed"], facts["Default"]) == ("a whole number, at least 1", "1")
    for key in list_optimizers():
        for control in Form(key).panel["controls"].values():
            terms = [fact["term"] for fact in control["facts"]]
            assert ("Recommended" in terms) == ("advice" in control)
            assert "Default" in terms
            assert ("Allowed" in terms) == (control["kind"] in {"number", "text"})  # the others list what there is


def test_a_form_is_two_widgets():
    made = []
    ipywidgets.Widget.on_widget_constructed(made.append)
    form = Form("PRODIGY")
    ipywidgets.Widget.on_widget_constructed(None)
    assert set(made) == {form, form.layout}


def test_half_a_character_does_not_break_the_wire(form):
    page_sends(form, k="type", name="lr", text="\ud800")
    assert list(form.errors) == ["lr"]
    form.state["controls"]["lr"]["text"].encode()


def test_an_observer_that_fails_is_shown_and_the_change_stays(form, caplog):
    def fail(_):
        raise RuntimeError("no disk")

    form.observe(fail, "settings")
    page_sends(form, k="type", name="d_coef", text="3", page="p", n=7)
    assert form.settings.options["d_coef"] == 3.0
    assert "RuntimeError: no disk" in form.notice
    assert form.state["seen"] == ["p", 7]
    assert any(record.exc_info for record in caplog.records)


def test_names_and_texts_reach_the_page_as_they_are(form):
    page_sends(form, k="type", name="lr", text="<img src=x onerror=alert(1)>")
    marks = form.state["controls"]["lr"]
    assert marks["text"] == "<img src=x onerror=alert(1)>"
    assert marks["error"].startswith("'<img src=x")


@pytest.mark.parametrize("optimizer", list_optimizers())
def test_every_control_of_every_optimizer_is_in_one_section(optimizer):
    form = Form(optimizer)
    placed = [name for section in form.panel["sections"] for name in section["controls"]]
    assert sorted(placed) == sorted(form.panel["controls"]) == sorted(form.draft.texts)
    for name, control in form.panel["controls"].items():
        assert control["help"], name
        assert control["kind"] in {"number", "bool", "choice", "text"}
        if control["kind"] == "choice":
            assert form.draft.texts[name] in [choice["value"] for choice in control["choices"]]
        if control["standing"] != "live":
            assert control["reason"], name


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", list_optimizers())
def test_every_formula_is_well_formed_mathml(optimizer):
    drawn = parseString(f"<all>{''.join(Form(optimizer).panel['mathml'])}</all>")  # noqa: S318  # our own
    assert {node.tagName for node in drawn.documentElement.childNodes} == {"math"}
    assert drawn.getElementsByTagName("mfrac") or drawn.getElementsByTagName("mo")
    assert "\\" not in drawn.documentElement.toxml()


def test_latex_that_cannot_be_read_leaves_the_text():
    assert mathml(r"\frac{") == []


def test_a_slider_and_the_form_follow_each_other(form):
    slider = form.slider("d_coef")
    assert isinstance(slider, ipywidgets.FloatLogSlider)
    slider.value = 0.5
    assert form.settings.options["d_coef"] == pytest.approx(0.5)
    form.type("d_coef", "2")
    assert slider.value == pytest.approx(2)
    form.type("d_coef", "1000")
    assert slider.value == pytest.approx(slider.base**slider.max)
    assert form.settings.options["d_coef"] == 1000
    form.choose("ADAM")
    assert slider.disabled
    form.choose("PRODIGY")
    assert not slider.disabled
    assert form.settings.options["d_coef"] == 1000


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", list_optimizers())
def test_every_option_can_be_a_plain_widget(optimizer):
    form = Form(optimizer)
    before = form.settings
    for name in form.draft.texts:
        assert form.slider(name).description == form.panel["controls"][name]["title"]
    assert form.settings == before
    with pytest.raises(KeyError, match="no option 'nothing'"):
        form.slider("nothing")


def test_the_preview_follows_steps_and_settings(form):
    preview = SchedulePreview(form.settings, steps=100)
    assert "Cosine over 100 steps" in preview.value
    preview.steps = 50
    assert "Cosine over 50 steps" in preview.value
    form.run = replace(form.run, steps=77)
    assert "over 77 steps" in form.preview
    with pytest.raises(traitlets.TraitError):
        form.run = replace(form.run, steps=0)


def test_the_picture_shows_each_jump_of_hard_restarts():
    settings = Settings("ADAM", schedule="COSINE_WITH_HARD_RESTARTS", cycles=7)
    points = dict(schedule_points(settings, 10_000))
    for step in restarts(settings, 10_000):
        assert points[step] > 0.99
        assert points[step - 1] < 0.01
    assert len(restarts(settings, 10_000)) == 6
    assert schedule_svg(settings, 10_000).count("dwf-restart") == 6


@pytest.mark.parametrize("cycles", [1e-9, 0.5, 1e9])
@pytest.mark.parametrize("steps", [1, 2, 1_000_000])
def test_extreme_schedules_are_drawn_small_and_well_formed(cycles, steps):
    settings = Settings("ADAM", schedule="COSINE_WITH_RESTARTS", cycles=cycles, warmup=1e12, lr=1e300)
    drawn = schedule_svg(settings, steps)
    parseString(drawn)  # noqa: S318  # our own
    assert len(drawn) < 8000


def test_the_preview_says_what_the_factor_is_on():
    assert "factor on d" in schedule_svg(Settings("PRODIGY"), 10)
    assert "factor on d" not in schedule_svg(Settings("ADAM"), 10)


@pytest.mark.parametrize("optimizer", list_optimizers())
def test_a_small_form_inside_the_form_is_a_folded_section_of_its_own(optimizer):
    inner = {}
    for use in spec(optimizer).uses:
        if use.section:
            inner.setdefault(use.section, []).append(use.name)
    sections = Form(optimizer).panel["sections"]
    assert {s["title"]: s["controls"] for s in sections if s["title"] in inner} == inner
    assert all(section["fold"] for section in sections if section["title"] in inner)
    assert bool(inner) == spec(optimizer).auxiliary
    titles = [section["title"] for section in sections]
    assert titles[:2] == ["Training", "Options"] or not spec(optimizer).uses
    assert not inner or titles[2] == "Auxiliary Adam"


def test_the_search_index_is_sent_with_each_text_once():
    message = index_message()
    texts = [text for entry in message["entries"] for part in ("notes", "without") for text, _ in entry[part]]
    texts += [entry["help"] for entry in message["entries"]]
    short = {"no effect", "not available"}
    assert len({(entry["name"], entry["help"]) for entry in message["entries"]}) == len(message["entries"])
    assert all(
        len({text for text, _ in entry[part]}) == len(entry[part])
        for entry in message["entries"]
        for part in ("notes", "without")
    )
    sent = json.dumps(message, ensure_ascii=False)
    # as much as its texts, and a few characters for each optimizer that has an option
    uses = sum(len(entry["optimizers"]) for entry in message["entries"])
    assert len(sent) < sum(len(text) for text in texts if text not in short) + 6 * uses + 150 * len(message["entries"])
    keys = message["optimizers"]
    spread = [
        {
            **{part: entry[part] for part in ("name", "title", "help")},
            "optimizers": [keys[place] for place in entry["optimizers"]],
            **{
                part: {keys[place]: text for text, places in entry[part] for place in places}
                for part in ("notes", "without")
            },
        }
        for entry in message["entries"]
    ]
    assert spread == option_index()


def test_the_search_names_last_where_an_option_does_nothing_and_says_so():
    for entry in option_index():
        last = [key for key in entry["optimizers"] if key in entry["without"]]
        assert entry["optimizers"][len(entry["optimizers"]) - len(last) :] == last
    found = {(entry["name"], key): words for entry in option_index() for key, words in entry["without"].items()}
    words = {Standing.INERT: "no effect", Standing.UNAVAILABLE: "not available"}
    assert found == {
        (use.name, key): words[use.standing]
        for key in list_optimizers()
        for use in spec(key).uses
        if use.standing in words
    }


def test_what_a_run_on_the_device_is_refused_for_is_told_with_the_fix_and_the_settings_stay(form):
    form.choose("ADAMW")
    form.run = RunOptions(device="cuda")
    form.type("capturable", "true")
    assert "warning" not in form.state["controls"]["capturable"]
    form.run = RunOptions(device="cpu")
    shown = form.state["controls"]["capturable"]
    assert "needs an NVIDIA GPU, and a run on anything else is refused" in shown["warning"]
    assert shown["fix"] == "Set Capturable to off"
    assert form.errors == {}
    assert form.settings.options["capturable"] is True
    page_sends(form, k="fix", name="capturable", page="p", n=1)
    assert form.settings == Settings("ADAMW", schedule="COSINE")
    assert "warning" not in form.state["controls"]["capturable"]


@pytest.mark.parametrize(("name", "value"), [("device", "cuda:0"), ("dtype", "float16")])
def test_a_run_that_cannot_be_planned_is_refused_by_the_form_too(form, name, value):
    with pytest.raises(traitlets.TraitError, match=RUN_OPTIONS[name].option.choices[-1]):
        form.run = RunOptions(**{name: value})


def test_a_fused_back_pass_and_accumulation_clash_in_the_form_with_the_fix(form):
    form.choose("ADAMW")
    form.type("fused_back_pass", "true")
    assert form.errors == {}
    form.run = RunOptions(accumulation=4)
    assert list(form.errors) == ["fused_back_pass"]
    assert "over 4 batches" in form.errors["fused_back_pass"]
    assert form.state["controls"]["fused_back_pass"]["fix"] == "Set Fused back pass to off"
    page_sends(form, k="fix", name="fused_back_pass", page="p", n=1)
    assert form.errors == {}
    assert form.settings.options["fused_back_pass"] is False
    form.undo()
    assert list(form.errors) == ["fused_back_pass"]
    form.run = RunOptions()
    assert form.errors == {}
    form.undo()
    form.run = RunOptions(accumulation=4)
    assert form.errors == {}, "the option is not on any more"
