"""A notebook that is executed and exported without a browser, as by nbconvert and papermill."""

import re
from html.parser import HTMLParser

import pytest

CELLS = (
    "import diffopt_widgets as dw",
    "bench = dw.lab(dw.Settings('PRODIGY'), task='swiss_roll', steps=3)\nbench",
    "runs = [dw.Run(dw.RunPlan(dw.Settings('PRODIGY', d_coef=d), task='swiss_roll', steps=3)) for d in (1, 2)]",
    "bench.start(runs)",
    "await bench.wait()",
    "bench",
    "form = dw.Form(dw.Settings('PRODIGY'))\nform",
    "form.settings = form.settings.replace(d_coef=0.25)",
    "dw.RunsTable(bench.runs)",
)

IN_GRID = 2 * 3
"""Pictures of samples: two runs, before training, after it and real examples."""


class Texts(HTMLParser):
    """Collects the texts of a page's outputs and its images."""

    def __init__(self):
        super().__init__()
        self.texts, self.images = [], []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs)["alt"])

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def executed():
    import nbclient  # here, since it takes longer than all tests of a file that is not run
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbclient.NotebookClient(notebook, timeout=300, store_widget_state=False).execute()
    return notebook


def export(exporter, notebook):
    """Return the text and the resources of a notebook that an exporter of nbconvert made."""
    from nbconvert import exporters

    return getattr(exporters, exporter)().from_notebook_node(notebook)


@pytest.mark.slow
def test_each_display_of_a_bench_has_the_curves_as_a_picture(executed):
    for place in (1, 5):
        _, picture = [output["data"] for output in executed.cells[place].outputs]
        assert picture["text/html"].count("<img") == 1 + IN_GRID
        assert picture["image/png"]
        assert "PRODIGY · d_coef 2" in picture["text/plain"]


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["HTMLExporter", "SlidesExporter", "MarkdownExporter"])
def test_an_export_shows_pictures_and_tables_and_no_insides_of_widgets(executed, exporter):
    text, _ = export(exporter, executed)
    page = Texts()
    page.feed(text)
    words = " ".join(page.texts)
    assert sum(words.startswith("Curves of PRODIGY") for words in page.images) == 2
    assert sum(words.startswith("PRODIGY · d_coef 2: ") for words in page.images) == IN_GRID
    assert len(page.images) == 2 + 2 * IN_GRID
    assert not re.search(r"children=|<style|object at|model not found", words.partition("diffopt_widgets as dw")[2])
    assert re.search(r"D coefficient \(d_coef\)\s+0\.25\s+1", words)
    assert re.search(r"PRODIGY · d_coef 2\s+done", words)


@pytest.mark.slow
def test_latex_has_the_picture_as_a_file(executed):
    text, resources = export("LatexExporter", executed)
    pictures = [data for name, data in resources["outputs"].items() if name.endswith(".png")]
    assert len(pictures) == 2
    assert all(data.startswith(b"\x89PNG") for data in pictures)
    assert all(name in text for name in resources["outputs"])
    assert "children=" not in text


PLAIN = (
    "h1 h2 h3 h4 h5 h6 br b i strong em a pre code img tt div ins del sup sub p ol ul table thead tbody tfoot blockquote "
    "dl dt dd kbd q samp var hr li tr td th s strike summary details span"
)
"""Elements that GitHub's published filter for HTML in documents leaves in; of a notebook's it says nothing."""
ATTRIBUTES = {"*": ["align", "alt", "colspan", "rowspan", "scope", "title", "width", "height"], "img": ["src"]}


@pytest.mark.slow
def test_a_page_that_leaves_only_plain_html_shows_pictures_and_tables(executed):
    """No style, script, class or picture element, which GitHub takes out; images are there as PNG, which it shows."""
    import bleach  # nbconvert's own

    htmls = [
        output["data"]["text/html"]
        for cell in executed.cells
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]
    left = bleach.clean("".join(htmls), PLAIN.split(), ATTRIBUTES, ["data"], strip=True, strip_comments=True)
    page = Texts()
    page.feed(left)
    words = " ".join(page.texts)
    assert sum(alt.startswith("Curves of PRODIGY") for alt in page.images) == 2
    assert len(page.images) == 2 + 2 * IN_GRID
    assert left.count('src="data:image/png;base64,') == len(page.images)
    assert re.search(r"D coefficient \(d_coef\)\s+0\.25\s+1", words)
    assert re.search(r"PRODIGY · d_coef 2\s+done", words)
    assert "{" not in words  # no rule of a style sheet
