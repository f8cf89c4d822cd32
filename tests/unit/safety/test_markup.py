"""Every text that a page, a picture or a file shows is shown as it is, whatever markup it looks like.

Each place is made twice, with a harmless word and with a hostile text in its stead: both must have the same elements and
attributes, and the text must stand there as it was given.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import html
import json
import re
import sys
import types
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import ipywidgets
import mistune
import pytest
import torch
from displays import saved, shown
from histories import append

import diffopt_widgets as dw
from diffopt_widgets.cli.reference import reference_page
from diffopt_widgets.drawing.figures import write_html
from diffopt_widgets.drawing.panels import metric_panel
from diffopt_widgets.records import History
from diffopt_widgets.runs.run import Run
from diffopt_widgets.tasks import Samples, Task
from diffopt_widgets.widgets.plot.live import LivePlot
from diffopt_widgets.widgets.plot.saved import picture_html

pytestmark = pytest.mark.slow

WORD = "word"
HOSTILE = {
    "image": "<img src=x onerror=hacked()>",
    "script": "</script><script>hacked()</script>",
    "comment": "<!--<script>",
    "attribute": '"><svg onload=hacked()>',
    "quote": "' onmouseover='hacked()",
    "link": '<a href="javascript:hacked()">x</a>',
    "template": "{{7*7}} ${7*7} %{y} %{meta}",
    "math": "$\\href{javascript:hacked()}{x}$ \\(y\\)",
    "plotly": "<b>bold</b><br><sup>x</sup>",
    "entity": "&lt;img src=x&gt; &#60;b&#62; &amp;",
    "style": "red;background:url(//a.b/c)",
    "markdown": "[x](javascript:hacked()) ![y](//a.b)",
    "table": "a|b `c` _d_ *e* #f ~~g~~",
    "unseen": "a\x00b\x0bc",
}
TYPED = [kind for kind in HOSTILE if kind != "unseen"]
"""What can be the value of an option: texts of visible characters."""
PACKAGE = Path(dw.__file__).parent


def as_shown(text: str) -> str:
    """Return a text with its characters that no picture may have replaced."""
    return re.sub("[\x00\x0b]", "\ufffd", text)


class Page(HTMLParser):
    """Elements of a page with the names of their attributes, what is loaded or run, and all texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[object] = []
        self.loaded: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, sorted(name for name, _ in attrs)))
        for name, value in attrs:
            self.texts.append(value or "")
            if name in {"href", "src", "style", "class"} and not (value or "").startswith("data:"):
                self.loaded.append(f"{name}={value}")
            if (value or "").startswith("data:image/svg+xml;base64,"):
                self.texts += picture_texts(base64.b64decode(value.partition(",")[2]).decode())

    def handle_endtag(self, tag):
        self.elements.append(tag)

    def handle_data(self, data):
        self.texts.append(data)

    def handle_comment(self, data):
        self.elements.append(("comment", data))

    def handle_decl(self, decl):
        self.elements.append(("declaration", decl))


def picture_texts(svg: str) -> list[str]:
    """Return the texts of a picture, which must be well formed and hold nothing that acts."""
    nodes = list(ET.fromstring(svg).iter())  # noqa: S314  # our own picture
    for node in nodes:
        assert node.tag.rpartition("}")[2] in {
            "svg",
            "g",
            "path",
            "text",
            "polyline",
            "rect",
            "tspan",
            "title",
            "circle",
        }
        assert not [name for name in node.attrib if name.startswith("on") or "href" in name]
    return [node.text or "" for node in nodes] + [value for node in nodes for value in node.attrib.values()]


def own_class(text: str, name: str = "Own") -> type:
    """Make an optimizer of the user's own whose docstring, default, output and error are the text."""
    module = types.ModuleType("own_optimizers_of_the_test")
    sys.modules[module.__name__] = module

    def made_of(self, params, lr=0.1, note=text):
        self.note = note
        torch.optim.SGD.__init__(self, params, lr)

    def step(self, closure=None):
        print(text)
        raise RuntimeError(text)

    doc = f"{text}\n\nArgs:\n    lr (float): {text}\n    note (str): {text}\n"
    body = {"__init__": made_of, "step": step, "__doc__": doc, "__module__": module.__name__}
    made = type(name, (torch.optim.SGD,), body)
    setattr(module, name, made)
    return made


class Point:
    """The smallest problem, with samples."""

    def __init__(self):
        self.model = torch.nn.Linear(1, 1)

    def loss(self, step, micro=0):  # noqa: ARG002
        return self.model(torch.ones(1, 1)).square().sum()

    def evaluate(self):
        return self.loss(0).detach()

    def samples(self):
        return Samples("points", torch.zeros(2, 2).numpy())


def own_task(text: str) -> Task:
    return Task(key="own_of_markup", title=text, summary=text, build=lambda seed, device, batch_size, dtype: Point())


# ------------------------------------------------------------------------------------------------------------- pages


def boxes(widget) -> list[ipywidgets.HTML]:
    """Return every box of HTML in a widget."""
    found = [widget] if isinstance(widget, ipywidgets.HTML) else []
    return found + [box for child in getattr(widget, "children", ()) for box in boxes(child)]


def bench_pages(text: str) -> list[str]:
    """Return what a bench shows after two runs, one of which failed, and what is saved in its stead."""

    async def script():
        task = own_task(text)
        dw.register_task(task, replace=True)
        bench = dw.lab(dw.Settings("SGD", lr=0.1), task=task, steps=1)
        with shown() as outputs:
            bench._ipython_display_()
            good = Run(dw.RunPlan(dw.Settings("SGD", lr=0.1), task=task.key, steps=1), text)
            bad = Run(dw.RunPlan(dw.Settings(dw.spec_of(own_class(text))), task=task.key, steps=1), f"{text} again")
            bench.start([good, bad])
            await bench.wait()
            for run in (good, bad):
                bench.table.rename(run.key, f"{text} {run.status}")
            held = [data["text/html"] for data in saved(outputs) if "text/html" in data]
        assert (good.status, bad.status) == ("done", "failed"), good.trace
        return [*(box.value for box in boxes(bench)), *held]

    return asyncio.run(script())


def displayed(widget) -> list[str]:
    with shown() as outputs:
        widget._ipython_display_()
    return [data["text/html"] for data in saved(outputs) if "text/html" in data]


def form_pages(text: str) -> list[str]:
    form = dw.Form(dw.Settings(dw.spec_of(own_class(text)), note=text))
    return displayed(form)


def store_pages(text: str) -> list[str]:
    import tempfile

    store = dw.RunStore(Path(tempfile.mkdtemp()) / "runs.sqlite")
    history = History((text,))
    append(history, 3)
    writer = store.begin(text, history, {"about": text}, id=text)
    writer.end("failed", text)
    store.annotate(text, text)
    table = dw.RunStoreTable(store)
    table.draw(text)
    return [*displayed(table), picture_html(table.plot, text)]


def plot_of(text: str) -> LivePlot:
    plot = LivePlot()
    history = History((text, f"{text} too"))
    append(history, 3)
    history.extend_columns(
        [4], {"applied_lr": [[1.0, 2.0]], text if text.isprintable() and "[" not in text else "metric": [1.0]}
    )
    plot.add_panel(metric_panel(history.names()[-1]))
    plot.add_run("a", text, history, details={text: text}, group=text, schedule=True)
    return plot


PLACES = {"bench": bench_pages, "form": form_pages, "store": store_pages}


@pytest.fixture(scope="module")
def harmless():
    return {name: [Page(page) for page in make(WORD)] for name, make in PLACES.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "kind"), [(place, kind) for place in PLACES for kind in (TYPED if place == "form" else HOSTILE)]
)
def test_a_page_has_the_same_elements_whatever_the_text_is(place, kind, harmless, monkeypatch, tmp_path):
    monkeypatch.setenv("DIFFOPT_CONFIG_DIR", str(tmp_path))
    text = HOSTILE[kind]
    pages = [Page(page) for page in PLACES[place](text)]
    assert [page.elements for page in pages] == [page.elements for page in harmless[place]]
    varying = re.compile(r"dw-for-\w+")  # the id of a display
    assert [varying.sub("", one) for page in pages for one in page.loaded] == [
        varying.sub("", one) for page in harmless[place] for one in page.loaded
    ]
    assert any(as_shown(text) in one for page in pages for one in page.texts)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_no_text_of_a_page_is_read_as_a_formula(place, monkeypatch, tmp_path):
    """MathJax reads `$x$` in every box of HTML, unless the element or one around it has the class, or is one of `pre`."""
    monkeypatch.setenv("DIFFOPT_CONFIG_DIR", str(tmp_path))
    mark = "$MARK$"

    class Formulas(HTMLParser):
        def __init__(self, text):
            super().__init__()
            self.open: list[bool] = []
            self.feed(text)

        def handle_starttag(self, tag, attrs):
            if tag not in {"img", "br", "meta", "source"}:
                self.open.append(
                    tag in {"pre", "code", "style", "script"}
                    or "mathjax_ignore tex2jax_ignore" in (dict(attrs).get("class") or "")
                )

        def handle_endtag(self, tag):  # noqa: ARG002
            self.open.pop()

        def handle_data(self, data):
            assert mark not in data or any(self.open), data

    pages = PLACES[place](mark)
    assert any(mark in page for page in pages)
    for page in pages:
        Formulas(page)


# ---------------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_picture_shows_the_text_and_nothing_else(kind):
    text = HOSTILE[kind]
    texts = picture_texts(plot_of(text).svg())
    assert as_shown(text) in texts


@pytest.mark.parametrize("kind", HOSTILE)
def test_plotly_is_given_no_markup(kind, tmp_path):
    """Plotly reads tags, `%{x}` and formulas first, and turns entities into characters last."""
    text = HOSTILE[kind]
    plot = plot_of(text)
    figure = plot.figure()
    named = [text for trace in figure.data for text in (trace.name, trace.hovertemplate)]
    named += [note.text.replace("<br>", " ") for note in figure.layout.annotations]  # where we break a title
    for one in named:
        inner = re.fullmatch(r"(?:%{y:\.7~g}<extra>)?(.*?)(?:</extra>)?", one or "", re.DOTALL)[1]
        assert not re.search(r"[<>$]|%{", inner)
    assert as_shown(text) in {html.unescape(trace.name) for trace in figure.data if trace.showlegend}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_page_that_opens_offline_has_the_same_elements_whatever_the_text_is(kind, tmp_path):
    def page(text: str) -> Page:
        return Page(write_html(plot_of(text).figure(), tmp_path / "page.html", title=text).read_text("utf-8"))

    found, plain = page(HOSTILE[kind]), page(WORD)
    assert found.elements == plain.elements
    assert found.loaded == plain.loaded
    script = next(text for text in found.texts if text.startswith("const picture"))
    data = json.loads(script.removeprefix("const picture = ").partition(";\nPlotly.newPlot")[0])
    assert {trace["legendgroup"] for trace in data["data"]} == {"0"}


@pytest.mark.parametrize("color", ["red;inset:0", "url(//a.b/c)", '"><b>', "image-set('//a.b')", "RGB(0,0,0);x"])
def test_a_colour_is_a_colour(color):
    with pytest.raises(ValueError, match="must be a CSS colour"):
        LivePlot().add_run("a", "a", History(("all",)), color=color)
    for table in (dw.RunsTable(), dw.lab().table):
        with pytest.raises(ValueError, match="must be a CSS colour"):
            table.add(dw.Run(dw.RunPlan(dw.Settings("ADAMW"), "swiss_roll")), color=color)
        assert not table.rows


# ------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("kind", TYPED)
def test_a_page_of_the_reference_is_plain_text(kind):
    """As Markdown with HTML in it is shown on the web."""
    render = mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "math", "url"])

    def page(text: str) -> Page:
        return Page(render(reference_page(dw.spec_of(own_class(text)))))

    found, plain = page(HOSTILE[kind]), page(WORD)
    assert found.elements == plain.elements
    assert found.loaded == plain.loaded


@pytest.mark.parametrize("kind", TYPED)
def test_code_has_the_text_as_a_text(kind):
    text = HOSTILE[kind]
    code = dw.export(dw.Settings(dw.spec_of(own_class(WORD)), note=text))
    strings = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    assert text.strip() in strings


# ------------------------------------------------------------------------------------------------- the code by itself

ESCAPED = {"escape", "paragraph", "picture", "plotly_text", "script_json", "plotly_source"}
"""Functions whose result is markup."""
KNOWN = {
    "drawing/figures.py": {
        "label": "from plotly_text",
        "picture": "from script_json",
        "_HOVER[line.ends is not None]": "constant",
        **dict.fromkeys(("rest", "_wrapped(lines[:1], FIGURE_CHARACTERS)"), "from plotly_text"),
    },
    "drawing/svg.py": {
        "LOOK": "constant",
        "text": "a number",
        "d": "numbers",
        "dash": "from DASHES",
        "_dashes(line.dash)": "constant",
        **dict.fromkeys(("''.join(parts)", "''.join(marks)"), "numbers"),
        "inner": "pictures of line_chart",
        "_legend(rows, bottom + 8)": "escaped there",
        "words": "from _heading, escaped there",
        "bold": "constant",
        "_number(tick)": "a number",
        **dict.fromkeys(
            ("width", "height", "total", "tall", "bottom", "y", "y + 4", "bottom + 32", "bottom + 15", "18 + 16 * i"),
            "number",
        ),
        **dict.fromkeys(("LEFT", "TOP", "MARK", "LEFT - 6", "width - RIGHT", "x"), "number"),
    },
    "widgets/page/stand_in.py": {
        "_LEFT * (i == 0)": "constant",
        "_LEFT": "constant",
        "looks": "escaped",
        "still.html": "escaped",
    }
    | dict.fromkeys(("head", "body"), "escaped cells")
    | {"''.join((f'<td{_LEFT * (i == 0)}>{escape(cell)}</td>' for i, cell in enumerate(row)))": "escaped cells"},
    "widgets/page/html.py": {"data": "base64", "NO_MATH": "constant", "wide": "a number"},
    "widgets/plot/saved.py": {
        "NO_MATH": "constant",
        "svg": "base64",
        **dict.fromkeys(("image", "plain", "below"), "escaped"),
    },
    "widgets/form/schedule.py": {
        **dict.fromkeys(
            ("WIDTH", "HEIGHT", "LEFT", "TOP", "bottom", "right", "line", "marks", "side", "texts"), "ours"
        ),
        "warm if rising else ''": "a shape",
        "schedule_svg(self.settings, self.steps)": "escaped there",
        **dict.fromkeys(("_x(step, steps)", "bottom - TOP"), "numbers"),
    },
    "widgets/page/folders.py": {"re.escape(part)": "a pattern", "end": "a pattern"},
    "catalogue/introspect/docstrings.py": {"_TYPE": "a pattern"},
    "widgets/bench/run_bar.py": {"NO_MATH": "constant", "pairs": "escaped", "trace": "escaped"},
    "widgets/bench/findings.py": {
        "NO_MATH": "constant",
        "said": "from paragraph",
        "count": "a number and a word",
        "items": "escaped",
    },
    "widgets/bench/bench.py": {"style": "our own file"},
    "widgets/bench/samples.py": {
        **dict.fromkeys(("NO_MATH", "css", "text", "LINE - 8", "drawn.kind", "self._choice"), "ours"),
        **dict.fromkeys(("place", "place * (wide + gap) / 2", "-(-width // 2)", "-(-height // 2)", "y"), "numbers"),
        **dict.fromkeys(("swatch", "told", "words", "name", "looks", "image", "heads", "cells", "real"), "escaped"),
        **dict.fromkeys(("''.join(cells)", "''.join(lines)", "''.join(texts)"), "escaped"),
        "_image(row, row.real, REAL)": "a picture",
        "_image(row, row.drawn.get(step), _when(step))": "a picture",
    },
}
"""What stands in markup without being escaped there, with the reason why that is safe."""


def markup_values(path: Path) -> list[str]:
    """Return the expressions in f-strings with markup that are neither escaped nor formatted as numbers."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.JoinedStr):
            continue
        fixed = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
        if not re.search(r"<[a-z/!]", fixed):
            continue
        values = [part for part in node.values if isinstance(part, ast.FormattedValue)]
        found += [ast.unparse(part.value) for part in values if not _is_safe(part)]
    return found


def _is_safe(part: ast.FormattedValue) -> bool:
    if part.format_spec is not None:
        return re.search(r"[dfgeF%]'$", ast.unparse(part.format_spec)) is not None
    call = part.value
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ESCAPED


def test_every_value_in_markup_is_escaped_or_known():
    unknown = {}
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if values := set(markup_values(path)) - set(KNOWN.get(name, {})):
            unknown[name] = values
    assert not unknown


def test_no_script_of_ours_reads_a_text_as_markup_or_code():
    wrong = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|createContextualFragment|\beval\(|new Function|"
        r"setHTMLUnsafe|javascript:"
    )
    for path in PACKAGE.rglob("*.js"):
        assert not wrong.findall(path.read_text("utf-8")), path
