import base64
import hashlib
import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from omlab.errors import OutputError
from omlab.roles import Metric
from omlab_report import (
    Column,
    Facts,
    Figure,
    Gallery,
    GalleryItem,
    Interval,
    KeyFigure,
    KeyFigures,
    Notes,
    Page,
    Picture,
    Section,
    Table,
    described,
    dot_intervals,
    encode_png,
    render_page,
    write_page,
    write_text,
)
from omlab_report.png import png_size

HOSTILE = "</script><img src=x onerror=\"alert(1)\"> & 'q'"


class Elements(HTMLParser):
    """Collects the elements of a page, and which were left open."""

    VOID = frozenset({"meta", "img", "source", "br", "hr"})

    def __init__(self, html):
        super().__init__()
        self.found, self.open = [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def of(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


def full_page(text="liver"):
    picture = Picture(np.full((4, 5, 3), 200, np.uint8), alt=text, caption=text)
    metric = Metric(name="Dice", label=text, value=0.5, low=0.4, high=0.6, n=3)
    blocks = [
        KeyFigures(
            [KeyFigure(text, 0.5, 0.4, 0.6, unit="mm", note=text), KeyFigure("Cases", 3), KeyFigure("None", None)]
        ),
        Table(
            [Column(text, help=text), Column("Dice", numeric=True)], [[text, Interval(0.5, 0.4, 0.6)], ["b", 1]], text
        ),
        Figure(dot_intervals([metric]), alt=text, caption=text),
        Gallery([GalleryItem(text, [picture] * 3, text=text)], legend={text: (1, 2, 3)}),
        Notes([text]),
        Facts({text: text}, title=text),
        Facts({text: text}, title=text, folded=True),
    ]
    return Page(text, [Section(text, blocks, text=text), Section("", [])], subtitle=text, notices=[text])


@pytest.fixture(scope="module")
def html():
    return render_page(full_page())


def test_markup_is_well_formed(html):
    assert Elements(html).open == []


def test_everything_is_inside_the_page(html):
    page = Elements(html)
    for tag in ("link", "iframe", "object", "base", "form"):
        assert page.of(tag) == []
    for attrs in (*page.of("img"), *page.of("source")):
        assert (attrs.get("src") or attrs["srcset"]).startswith("data:image/")
    assert not re.search(r"https?:|url\(|@import", html)


def test_the_policy_allows_exactly_the_inline_style_and_script(html):
    page = Elements(html)
    policy = next(attrs["content"] for attrs in page.of("meta") if "http-equiv" in attrs)
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    # The policy forbids these, so they would silently have no effect.
    assert all("style" not in attrs and not any(a.startswith("on") for a in attrs) for _, attrs in page.found)


def test_names_are_shown_and_never_interpreted():
    html = render_page(full_page(HOSTILE))
    page = Elements(html)
    assert page.open == []
    assert len(page.of("script")) == 1
    assert not any("onerror" in attrs for attrs in page.of("img"))
    assert any(attrs.get("alt") == HOSTILE for attrs in page.of("img"))


def test_every_figure_comes_for_light_dark_phone_and_desktop(html):
    page = Elements(html)
    plots = [a["src"] for a in page.of("img") if "svg+xml" in a["src"] and a.get("class") != "mark"]
    uris = [a["srcset"] for a in page.of("source")] + plots
    assert len(set(uris)) == 4
    for uri in uris:
        assert ET.fromstring(base64.b64decode(uri.partition(",")[2])).tag.endswith("svg")
    assert all("screen" in attrs["media"] for attrs in page.of("source"))  # print takes the light one


def test_every_picture_has_a_text(html):
    assert all("alt" in attrs for attrs in Elements(html).of("img"))


def test_thumbnails_are_small_and_an_absent_picture_leaves_its_place():
    pictures = [Picture(b"\xff\xd8\xff\xe0 a JPEG", alt="first"), Picture(None, alt=HOSTILE, caption="second")]
    html = render_page(Page("t", [Section("", [Gallery([GalleryItem("case", pictures)], small=True)])]))
    page = Elements(html)
    shown = [img for img in page.of("img") if img.get("class") != "mark"]
    assert [img["src"].partition(";")[0] for img in shown] == ["data:image/jpeg"]
    assert [div["class"] for div in page.of("div")] == ["pictures small", "absent"]
    assert HOSTILE not in html


def test_the_same_page_gives_the_same_bytes(html):
    assert render_page(full_page()) == html


def test_numbers_are_aligned_and_sortable_and_carry_their_interval():
    rows = [["a", Interval(0.91234, 0.85, 0.95), -1.5, 3], ["b", None, float("nan"), 4], ["c", Interval(0.5), 0.0, 5]]
    columns = [
        Column("Class"),
        Column("Dice", numeric=True),
        Column("Shift", numeric=True, digits=1),
        Column("n", numeric=True),
    ]
    html = render_page(Page("t", [Section("", [Table(columns, rows)])]))
    assert '<td class="number" data-sort="0.91234">0.912 <span class="interval">[0.850, 0.950]</span></td>' in html
    assert '<td class="number" data-sort="-1.5">\N{MINUS SIGN}1.5</td>' in html
    assert '<td class="number" data-sort="3.0">3</td>' in html
    assert html.count('<td class="number" data-sort="">\N{EN DASH}</td>') == 2
    assert '<th scope="row">a</th>' in html


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="2 cells"):
        Table([Column("a")], [["x", "y"]])


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_page(Page("New", []), path)
    assert "<h1>New</h1>" in path.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"The report cannot be written to .*report\.html"):
        write_text("x", tmp_path / "file" / "report.html")


def test_a_failed_replacement_leaves_the_old_file_and_no_other(tmp_path):
    taken = tmp_path / "report.html"
    taken.mkdir()
    with pytest.raises(OutputError):
        write_text("x", taken)
    assert list(tmp_path.iterdir()) == [taken]


def test_a_figure_without_a_sentence_that_explains_it_is_refused():
    for caption in ("", "  "):
        with pytest.raises(ValueError, match="has no caption: say how it is read"):
            Figure(dot_intervals([]), alt="Dice by class.", caption=caption)


def test_a_long_page_has_contents_whose_links_lead_to_its_sections():
    titles = ["By class", "By case", "", "Overlays", HOSTILE, "Notes"]
    page = Elements(render_page(Page("t", [Section(title, []) for title in titles])))
    links = [attrs["href"] for attrs in page.of("a")]
    assert links == [f"#section-{number}" for number in (1, 2, 4, 5, 6)]
    assert {link[1:] for link in links} == {attrs["id"] for attrs in page.of("h2")}
    assert page.of("nav") == [{"class": "contents", "aria-label": "Contents"}]
    assert not page.of("details")
    assert not Elements(render_page(Page("t", [Section(title, []) for title in titles[:3]]))).of("nav")
    long = Elements(render_page(Page("t", [Section(f"Answer {n}", []) for n in range(50)])))
    assert (len(long.of("details")), len(long.of("a")), long.open) == (1, 50, [])


def test_notices_stand_before_every_figure_and_every_page_says_that_it_is_no_medical_device():
    html = render_page(Page("t", [Section("", [KeyFigures([KeyFigure("Dice", 0.5)])])], notices=["Random weights."]))
    assert html.index('<p class="notice" role="note">Random weights.</p>') < html.index('class="key-figures"')
    assert "not a medical device" in html


def test_a_picture_says_of_itself_what_its_file_says():
    said = PngInfo()
    said.add_itxt("Title", "no")
    said.add_itxt("Description", "Axial slice 3 of 9, 5 µm thick.", zip=True)
    stream = io.BytesIO()
    Image.new("RGB", (3, 2)).save(stream, "PNG", pnginfo=said)
    assert described(stream.getvalue()) == "Axial slice 3 of 9, 5 µm thick."
    assert described(encode_png(np.zeros((2, 2, 3), np.uint8))) == ""
    assert described(b"\xff\xd8\xff\xe0 a JPEG") == ""


def test_planes_side_by_side_scroll_on_a_phone_and_are_not_shrunk_to_it():
    wide, square = (Picture(np.zeros((10, n, 3), np.uint8), alt=f"{n}") for n in (40, 10))
    page = Elements(render_page(Page("t", [Section("", [Gallery([GalleryItem("case", [wide, square])])])])))
    assert [attrs["aria-label"] for attrs in page.of("div") if attrs.get("class") == "wide"] == ["40"]
    assert png_size(b"\xff\xd8\xff\xe0 a JPEG") == (0, 0)
