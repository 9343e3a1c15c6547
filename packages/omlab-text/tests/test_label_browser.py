"""The page in a real browser: a computer and a tablet at once."""

import re
import shutil
import socket
import threading
import time

import pytest
import uvicorn
from labelling import labelling
from playwright.sync_api import expect, sync_playwright

from omlab_text.label.records import records
from omlab_text.label.server import application

CHROMIUM = shutil.which("chromium")
HOSTILE = (
    'answer {answer} to {question}: <img src="x" onerror="document.title=1"><script>document.title=2</script></div>'
    '<style>body {{display: none}}</style><a href="javascript:document.title=3">here</a> & "quoted" \u202e \U0001f600'
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")


@pytest.fixture
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Site:
    """The page of a store on a port of this machine; can go away and come back."""

    def __init__(self, store):
        self.store, self.port = store, 0
        self.start()

    def start(self):
        bound = socket.create_server(("127.0.0.1", self.port))
        self.port = bound.getsockname()[1]
        self.server = uvicorn.Server(uvicorn.Config(application(self.store), log_level="error"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [bound]})
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    def stop(self):
        self.server.should_exit = True
        self.thread.join()

    def link(self, name, role="annotator"):
        return f"http://127.0.0.1:{self.port}/#{self.store.add_account(name, role)}"


@pytest.fixture
def site(tmp_path):
    sites = []

    def opened(questions, **more):
        sites.append(Site(labelling(tmp_path, questions=questions, **more)))
        return sites[-1]

    yield opened
    for one in sites:
        one.stop()


def opened(browser, link, **form):
    page = browser.new_context(**form).new_page()
    page.foreign, page.errors = [], []
    page.on("request", lambda request: page.foreign.append(request.url) if "127.0.0.1" not in request.url else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(link)
    expect(page.locator(".answer")).to_have_count(4)
    return page


def places(page):
    """By model, where its answer stands on the page."""
    texts = page.locator(".answer .text").all_inner_texts()
    return {f"m{re.match('answer ([0-9])', text)[1]}": place for place, text in enumerate(texts)}


def chip(page, place):
    return page.locator(f".chip[data-answer='{place}']:not(.ghost)")


def drag(page, place, target):
    for move, spot in (("down", chip(page, place)), ("up", page.locator(target))):
        box = spot.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
        getattr(page.mouse, move)()


def rank_by_mouse(page):
    """m2 best, m0 and m3 tied, m1 last."""
    at = places(page)
    drag(page, at["m1"], ".gap.last")
    drag(page, at["m2"], "[data-gap='0']")
    drag(page, at["m0"], "[data-gap='1']")
    drag(page, at["m3"], "[data-row='1']")


def rank_by_taps(page):
    """m0 best, then m1, m2 and m3 tied."""
    at = places(page)
    for model in ("m0", "m1", "m2"):
        chip(page, at[model]).tap()
        page.locator(".gap.last").tap()
    chip(page, at["m3"]).tap()
    page.locator("[data-row='2']").tap()


def rank_by_keys(page):
    """m0 best, then m1, m2 and m3 tied."""
    at = places(page)
    here = 0
    for model, keys in (("m0", ["1"]), ("m2", ["9"]), ("m3", ["2"]), ("m1", ["9", "ArrowUp", "ArrowUp"])):
        while here != at[model]:
            page.keyboard.press("ArrowRight")
            here = (here + 1) % 4
        for key in keys:
            page.keyboard.press(key)


def finish(page):
    asked = page.locator("#prompt .turn:last-child .text").inner_text()
    page.click("#done")
    expect(page.locator("#prompt .turn:last-child .text")).not_to_have_text(asked)


BY_MOUSE = {"m2": 1, "m0": 2, "m3": 2, "m1": 3}
BY_TOUCH = {"m0": 1, "m1": 2, "m2": 3, "m3": 3}


@pytest.mark.slow
def test_twenty_rankings_by_two_at_once_with_a_reload_in_the_middle_lose_nothing(browser, site):
    place = site(21, text=HOSTILE)
    ann = opened(browser, place.link("ann"), viewport={"width": 1280, "height": 900})
    bob = opened(browser, place.link("bob"), viewport={"width": 820, "height": 1180}, has_touch=True)
    for number in range(10):
        rank_by_mouse(ann)
        (rank_by_taps if number % 2 else rank_by_keys)(bob)
        if number == 5:  # in the middle, and without waiting for what was just done
            before = places(ann)
            ann.reload()
            expect(ann.locator(".answer")).to_have_count(4)
            assert places(ann) == before
            bob.locator(".tags button").first.click()
            bob.reload()
            expect(bob.locator(".tags button[aria-pressed=true]")).to_have_count(1)
        if number < 9:
            finish(ann)
            finish(bob)
    ann.click("#done")
    bob.keyboard.press("Control+Enter")
    for page in (ann, bob):
        expect(page.locator("#saved")).to_have_text("")
        assert (page.foreign, page.errors) == ([], [])
        assert page.title() == "Labelling"
    rows = records(place.store)
    assert len({row["id"] for row in rows}) == len(rows) == 20
    assert [row["ranks"] for row in rows if row["annotator"] == "ann"] == [BY_MOUSE] * 10
    assert [row["ranks"] for row in rows if row["annotator"] == "bob"] == [BY_TOUCH] * 10
    assert sum(bool(row["tags"]) for row in rows) == 1


def test_hostile_texts_are_texts(browser, site):
    page = opened(browser, site(1, text=HOSTILE).link("ann"))
    shown = page.locator(".answer .text").all_text_contents()
    assert sorted(shown) == [HOSTILE.format(answer=answer, question=0) for answer in range(4)]
    assert page.locator("main img, main script, main style, main a").count() == 0
    assert page.locator("body").is_visible()


def test_what_is_said_while_the_server_is_away_is_kept_when_it_is_back(browser, site):
    place = site(2)
    page = opened(browser, place.link("ann"))
    place.stop()
    page.locator(".answer select").first.select_option("7")
    rank_by_keys(page)
    expect(page.locator("#saved")).to_contain_text("Not saved yet")
    place.start()
    expect(page.locator("#saved")).to_have_text("Saved")
    (label,) = place.store.own("ann").values()
    assert label.ranks == BY_TOUCH
    assert list(label.scores.values()) == [{"correct": 7}]


def test_back_shows_what_was_said_and_skipped_questions_go_to_others(browser, site):
    place = site(3)
    page = opened(browser, place.link("ann"))
    rank_by_keys(page)
    finish(page)
    page.click("#back")
    expect(page.locator(".pool")).to_have_count(0)
    page.fill("#note", "a thought")
    finish(page)
    page.click("#skip")
    expect(page.locator("#prompt")).to_contain_text("Question 2?")
    page.click("#escalate")
    expect(page.locator("#notice")).to_contain_text("nothing to label")
    assert [label.state for label in place.store.own("ann").values()] == ["done", "skipped", "escalated"]
    assert records(place.store)[0]["note"] == "a thought"
    other = opened(browser, place.link("bob"))
    expect(other.locator("#prompt")).to_contain_text("Question 1?")


def test_an_admin_sees_how_far_everybody_is_and_a_stranger_nothing(browser, site):
    place = site(1)
    page = browser.new_page()
    page.goto(place.link("root", "admin"))
    expect(page.locator("#progress")).to_contain_text("0 of 1 questions are labelled")
    stranger = browser.new_page()
    stranger.goto(f"http://127.0.0.1:{place.port}/#guess")
    expect(stranger.locator("#notice")).to_contain_text("no valid token")
    assert stranger.locator("main").first.is_hidden()
