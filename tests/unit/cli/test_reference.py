"""The reference in Markdown: complete, with links that lead somewhere, and written where it was asked for."""

import re

import pytest

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.evidence import evidence
from diffopt_widgets.catalogue.schedules import SCHEDULES, TRAINING_OPTIONS
from diffopt_widgets.catalogue.schema import REQUIREMENTS, Standing
from diffopt_widgets.cli.main import main
from diffopt_widgets.cli.reference import reference_pages
from diffopt_widgets.probe.table import lacking


@pytest.fixture(scope="module", name="pages")
def _pages():
    return reference_pages()


def headings(page):
    return {line.lstrip("# ").lower() for line in page.splitlines() if line.startswith("#")}


def plain(page):
    return re.sub(r"\\(.)", r"\1", page)


@pytest.mark.parametrize("key", list_optimizers())
def test_a_page_says_everything_that_the_catalogue_knows(key, pages):
    assert not lacking(key), lacking(key)
    entry, page = spec(key), pages[f"{key}.md"]
    words = plain(page)
    assert f"$${entry.formula}$$" in page
    assert ("one learning rate for all" in words) == (entry.rates != "each")
    for use in (entry.lr, *entry.uses):
        assert use.name.lower() in headings(page)
        part = words.split(f"### {use.name}\n")[1].split("\n#")[0]
        assert use.option.help in part
        assert use.note in part
        assert use.reason in part
        assert f"- Tried: {evidence(entry, use.name)}" in part
        assert f"Allowed: {use.allowed()}" in part
        need = REQUIREMENTS.get(use.requires or use.only_in)
        assert (f"- Needs: {need}" in part) if need else ("- Needs:" not in part)
        assert ("No effect here" in part) == (use.standing is Standing.INERT)
        assert ("Not available here" in part) == (use.standing is Standing.UNAVAILABLE)
    assert all(rule.message in words for rule in entry.rules)
    assert all(hidden.reason in words for hidden in entry.hidden)
    assert all(preset.why in words for preset in entry.presets)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("SGD", "0 / 0 | 0 / 0 | 0 / 0"),
        ("ADAMW", "8 / 4 | 8 / 4 | 8 / 4"),
        ("LAMB", "8 / 8 | 8 / 8 | 8 / 8"),  # bitsandbytes keeps 32 bits
        ("DADAPT_ADAN", "20 / 10 | 20 / 10 | 20 / 10"),
        ("CAME", "8.26 / 8.26 | 4.76 / 4.76 | 4 / 4"),
    ],
)
def test_a_page_tells_the_state_per_weight(key, words, pages):
    page = pages[f"{key}.md"]
    assert "| | SD 1.5 | SDXL | Flux.1 dev |" in page
    assert f"| full | {words} |" in page
    assert "All options are at the defaults below" in page


def test_the_index_names_every_optimizer_and_who_has_which_option(pages):
    index = pages["README.md"]
    for key in list_optimizers():
        assert f"({key}.md)" in index
        for use in spec(key).uses:
            linked = f"({key}.md#{use.name.lower()})" in index
            assert linked == (use.standing is Standing.LIVE), (key, use.name)


def test_the_options_of_every_run_and_all_schedules_have_their_page(pages):
    page = plain(pages["schedules.md"])
    assert all(f"## {option.name}\n" in page and option.help in page for option in TRAINING_OPTIONS)
    assert all(f"`{key}`" in page and schedule.summary in page for key, schedule in SCHEDULES.items())


def test_links_between_pages_lead_somewhere(pages):
    for page in pages.values():
        for target, anchor in re.findall(r"\]\((\w+\.md)(?:#(\w+))?\)", page):
            assert target in pages
            assert not anchor or anchor in headings(pages[target])


@pytest.mark.slow
def test_it_is_written_into_a_folder_and_warns_of_nothing(pages, tmp_path, capsys, caplog):
    assert main(["options", "--markdown", str(tmp_path / "new")]) == 0
    assert caplog.messages == []
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "new").iterdir()} == pages
    assert main(["options", "prodigy", "--markdown", str(tmp_path / "one")]) == 0
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["PRODIGY.md"]
    assert str(tmp_path / "one" / "PRODIGY.md") in capsys.readouterr().out


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["options", "prodigy", "--markdown", str(tmp_path / "file")]) == 2
    assert "--markdown" in capsys.readouterr().err
