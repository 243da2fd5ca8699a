"""The service's page in a real Chromium, as a clinician and a reviewer use it."""

import hashlib
import io
import shutil
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from app.data import review
from app.models.lookup import FoundVersion
from app.server.version_loading import load_predictors
from components.core import spreadsheets
from components.data_quality import decisions
from tests.support.chromium import chromium, guarded_pages, violations, violations_in_both_schemes
from tests.support.images import encoded, textured
from tests.support.service import MODEL, Registry, Service, change_candidate, copy_store, running_service

KEY = "the-key-of-these-tests"
PRINTED = {".notice": True, ".ranking": True, "[data-version]": True, ".bar nav": False, ".actions": False, "summary": False}
"""What is on paper."""
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
"""Rules of axe-core without its best practices."""
KINDS = ("label_conflict", "near_duplicate")


@dataclass
class Clinic:
    """A service over a store with two versions: the second abstains from everything, and always raises the alarm."""

    service: Service
    registry: Registry
    melanoma: str
    nevus: str

    @property
    def url(self) -> str:
        return self.service.url


@pytest.fixture(scope="module")
def clinic(built, tmp_path_factory):
    root = copy_store(built.root, tmp_path_factory.mktemp("clinic") / "project")
    for name in ("data", "labels"):
        shutil.copytree(built.root / name, root / name)
    write_findings(root)
    registry = Registry.of(root)
    if "champion" not in registry.client.get_registered_model(MODEL).aliases:
        registry.promote("1")
    registry.register(change_candidate(abstention_threshold=1.01, operating_points={"triage": 0.0}))
    melanoma, nevus = (str(next(path for path in sorted((root / "data" / name).iterdir()))) for name in ("melanoma", "nevus"))
    with running_service(root, root / "serve.log", "--review") as service:
        yield Clinic(service, registry, melanoma, nevus)


def write_findings(root: Path) -> None:
    """Two findings with two files each, one of which has a name that would run as a formula or as HTML."""
    files = sorted(path for path in (root / "data").rglob("*") if path.suffix in (".jpg", ".png"))
    strange = next(path for path in files if path.name.startswith(("=", "<img")))
    plain = [path for path in files if path != strange][:3]
    rows = []
    for number, path in enumerate((strange, *plain)):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        relative = path.relative_to(root / "data").as_posix()
        rows.append((KINDS[number // 2], number // 2, 1.0, relative, "quarantine", "x", f"found {relative}", digest, path.parent.name))
    columns = ["kind", "number", "rank", "path", "then", "left_out", "says", "sha256", "diagnosis"]
    (root / "build").mkdir()
    spreadsheets.write(pd.DataFrame(rows, columns=columns), root / "build/findings.csv")


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def open_page(browser):
    with guarded_pages(browser) as opener:
        yield opener


def ask(page, url: str, *files: str) -> None:
    """Ask about a lesion, and wait for the answer."""
    page.goto(url)
    page.get_by_label("Yes", exact=True).check()
    page.locator("#files").set_input_files(list(files))
    page.get_by_role("button", name="Ask the model").click()
    page.locator("article.answer").wait_for()


def unfold(page) -> None:
    for summary in page.locator("summary").all():
        summary.click()


def shares(page) -> list[float]:
    return [float(value) for value in page.locator(".ranking data").evaluate_all("found => found.map((one) => one.value)")]


def fits(page, width: int) -> bool:
    return page.evaluate("document.documentElement.scrollWidth") <= width


def test_answer_shows_all_that_it_rests_on(clinic, open_page):
    page = open_page(clinic.url)
    ask(page, clinic.url, clinic.melanoma)
    (predictor,) = load_predictors(FoundVersion(MODEL, "1", clinic.registry.folders["1"]), 1)
    found = predictor.predict(Path(clinic.melanoma).read_bytes())
    assert shares(page) == pytest.approx(sorted(found.probabilities.values(), reverse=True), abs=1e-5)
    assert float(page.locator(".malignant data").get_attribute("value")) == pytest.approx(found.malignant, abs=1e-5)
    assert page.locator("[role=alert]").is_visible() == found.alarm
    assert page.get_by_text("Research software, not a medical device.").is_visible()
    assert page.get_by_text("on pictures like those measured").first.is_visible()
    assert page.get_by_text("not age, sex, site").is_visible()
    assert page.locator("[data-version]").inner_text() == "1"
    assert page.locator("details[open]").count() == 0
    assert not page.locator(".cases").is_visible()
    loaded = "found => found.every((one) => one.complete && one.naturalWidth > 0)"
    assert page.locator("img").evaluate_all(loaded)
    unfold(page)
    assert page.locator(".cases li").count() == len(found.similar)
    assert page.locator(".cases li").first.get_by_text("CC0").count() == 1
    assert "no evidence" in page.locator("#overlay").inner_text()
    layer = page.locator(".layer")
    assert layer.evaluate("layer => layer.style.opacity") == "0"
    page.get_by_label("Overlay", exact=True).fill("70")
    assert layer.evaluate("layer => layer.style.opacity") == "0.7"
    page.go_back()
    page.locator("#ask").wait_for()


def test_pasted_dropped_and_removed_pictures_of_one_lesion(clinic, open_page):
    page = open_page(clinic.url)
    page.goto(clinic.url)
    page.get_by_label("Yes", exact=True).check()
    script = """([selector, kind, bytes]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "one.jpg", { type: "image/jpeg" }));
      const options = { bubbles: true, cancelable: true };
      const made = { paste: ["ClipboardEvent", "clipboardData"], drop: ["DragEvent", "dataTransfer"] }[kind];
      document.querySelector(selector).dispatchEvent(new window[made[0]](kind, { ...options, [made[1]]: data }));
    }"""
    for number, (selector, kind) in enumerate((("body", "paste"), ("#drop", "drop"), ("#drop", "drop"))):
        page.evaluate(script, [selector, kind, list(encoded(textured(number)))])
    assert page.locator(".previews img").count() == 3
    page.get_by_role("button", name="Remove picture 2").click()
    assert page.locator(".previews img").count() == 2
    page.get_by_role("button", name="Ask the model").click()
    page.locator("article.answer").wait_for()
    assert page.locator(".pair").count() == 2
    unfold(page)
    assert page.get_by_text("Between the 2 pictures").count() == (0 if page.locator(".abstention").count() else 1)


def test_alias_that_moved_is_named_and_abstention_withholds_ranking_but_no_alarm(clinic, open_page):
    page = open_page(clinic.url)
    page.goto(clinic.url)
    clinic.registry.promote("2")
    try:
        wait_for_version(clinic, "2")
        page.get_by_label("Yes", exact=True).check()
        page.locator("#files").set_input_files(clinic.nevus)
        page.get_by_role("button", name="Ask the model").click()
        page.locator(".abstention").wait_for()
        assert page.get_by_text("Version 2 answered. It took the place of version 1").is_visible()
        boxes = [page.locator(name).bounding_box()["y"] for name in (".alarm", ".abstention", ".limits")]
        assert boxes == sorted(boxes)
        assert "does not lift the alarm" in page.locator(".alarm").inner_text()
        assert "needs a person" in page.locator(".abstention").inner_text()
        assert page.locator(".ranking, .malignant, details, .cases, #overlay").count() == 0
        assert "nevus" not in page.locator("main").inner_text()
        assert violations(page) == []
    finally:
        clinic.registry.promote("1")
        wait_for_version(clinic, "1")


def wait_for_version(clinic: Clinic, number: str) -> None:
    from tests.support.prefect import wait_for

    with clinic.service.client() as client:
        wait_for(f"version {number} to answer", lambda: client.get("/ready").json()["version"] == number, 30)


def test_keyboard_alone_suffices(clinic, open_page):
    page = open_page(clinic.url)
    page.on("filechooser", lambda chooser: chooser.set_files(clinic.melanoma))
    page.goto(clinic.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.wait_for_url("**/#main")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.get_by_label("Yes", exact=True).is_checked()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.locator(".previews img").wait_for()
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "primary":
            break
    page.keyboard.press("Enter")
    page.locator("article.answer").wait_for()
    assert page.evaluate("document.activeElement.id") == "main"
    page.evaluate("location.hash = 'main'")  # as the link does that skips the navigation
    page.locator("#overlay summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.locator("output[for=opacity]").inner_text() == "1 %"


def test_axe_finds_nothing_in_light_and_dark(clinic, open_page):
    page = open_page(clinic.url, color_scheme="light")
    for path in ("/", "/about", "/review", "/nothing"):
        page.goto(f"{clinic.url}{path}")
        assert violations_in_both_schemes(page) == [], path
    ask(page, clinic.url, clinic.melanoma)
    unfold(page)
    assert violations_in_both_schemes(page) == []
    with chdir(clinic.service.root):
        list(review.write_page())
    page.goto((clinic.service.root / "reports/review/index.html").as_uri())
    assert violations_in_both_schemes(page, runOnly={"type": "tag", "values": WCAG}) == []


def test_phone_zoom_and_print(clinic, open_page):
    phone = open_page(clinic.url, viewport={"width": 360, "height": 700}, is_mobile=True, has_touch=True)
    for path in ("/", "/about", "/review"):
        phone.goto(f"{clinic.url}{path}")
        assert fits(phone, 360), path
    assert phone.goto(clinic.url).ok
    assert phone.get_by_label("Take a photograph").is_visible()
    ask(phone, clinic.url, clinic.melanoma)
    unfold(phone)
    assert fits(phone, 360)
    zoomed = open_page(clinic.url, viewport={"width": 640, "height": 450}, device_scale_factor=2)  # 1280 x 900 at 200 %
    ask(zoomed, clinic.url, clinic.melanoma)
    assert fits(zoomed, 640)
    zoomed.emulate_media(media="print")
    shown = {
        name: zoomed.locator(name).first.is_visible()
        for name in (".notice", ".ranking", "[data-version]", ".bar nav", ".actions", "summary")
    }
    assert shown == PRINTED


def test_problems_are_told_and_pictures_stay(clinic, open_page, tmp_path):
    page = open_page(clinic.url)
    page.goto(clinic.url)
    button, status = page.get_by_role("button", name="Ask the model"), page.locator("#status")
    button.click()
    assert page.evaluate("document.querySelector('[name=suitable]').validity.valueMissing")
    page.get_by_label("Yes", exact=True).check()
    button.click()
    status.get_by_text("Add a picture of the lesion").wait_for()
    files = page.locator("#files")
    for name, content, sentence in (
        ("text.txt", b"text", "is not a JPEG or PNG file"),
        ("huge.jpg", bytes(int(page.locator("#ask").get_attribute("data-max-bytes")) + 1), "is larger than"),
    ):
        (tmp_path / name).write_bytes(content)
        files.set_input_files(tmp_path / name)
        status.get_by_text(sentence).wait_for()
    (tmp_path / "broken.jpg").write_bytes(Path(clinic.melanoma).read_bytes()[:900])
    files.set_input_files(tmp_path / "broken.jpg")
    button.click()
    status.get_by_text("Picture 1 could not be read").wait_for()
    files.set_input_files([tmp_path / "broken.jpg", clinic.melanoma])
    page.context.set_offline(True)
    button.click()
    status.get_by_text("The service does not answer").wait_for()
    assert page.locator(".previews img").count() == 2
    page.context.set_offline(False)
    busy = iter((True,))

    def once_busy(route):
        if next(busy, False):
            route.fulfill(status=503, headers={"Retry-After": "1"})
        else:
            route.continue_()

    page.route(f"{clinic.url}/", once_busy)
    button.click()
    page.locator("#progress").get_by_text("The service is busy").wait_for()
    page.locator("article.answer").wait_for()
    assert page.get_by_text("Picture 1 could not be read").is_visible()
    page.goto(clinic.url)
    page.get_by_label("No, or I do not know").check()
    page.get_by_role("button", name="Ask the model").click()
    page.get_by_text("made for dermoscopic images only").wait_for()
    assert page.locator("data").count() == 0


def test_form_works_without_scripts(clinic, open_page):
    page = open_page(clinic.url, java_script_enabled=False)
    ask(page, clinic.url, clinic.melanoma)
    assert len(shares(page)) == 9
    page.goto(f"{clinic.url}/review")
    page.get_by_role("button", name="Keep").last.click()
    page.get_by_text("decided: keep").wait_for()


def test_key_own_impression_and_service_that_ends(clinic, open_page, tmp_path):
    root, log = clinic.service.root, tmp_path / "serve.log"
    with running_service(root, log, "--ask-first", LESIONFLOW_API_KEY=KEY) as service:
        page = open_page(service.url)
        page.goto(service.url)
        assert violations(page) == []
        page.get_by_label("Key").fill("a wrong key")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("alert").get_by_text("The key is wrong.").wait_for()
        page.get_by_label("Key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_label("Yes", exact=True).check()
        page.locator("#files").set_input_files(clinic.melanoma)
        page.get_by_role("button", name="Ask the model").click()
        page.locator("#status").get_by_text("Give your own impression first").wait_for()
        assert page.locator("data").count() == 0
        page.get_by_label("Diagnosis").select_option("dermatofibroma")
        page.get_by_label("fairly sure").check()
        page.get_by_role("button", name="Ask the model").click()
        page.locator("article.answer").wait_for()
        assert page.locator(".impressions").inner_text().startswith("Your impression\ndermatofibroma, fairly sure")
        assert violations(page) == []
        page.goto(service.url)
        assert page.goto(f"{service.url}/review").status == 404
        page.goto(service.url)
        page.get_by_label("Yes", exact=True).check()
        page.locator("#files").set_input_files(clinic.melanoma)
        service.end()
        page.get_by_role("button", name="Ask the model").click()
        page.locator("#status").get_by_text("The service does not answer").wait_for()
    assert KEY not in log.read_text(encoding="utf-8")


def test_review_writes_decisions_as_the_command_does(clinic, open_page, tmp_path):
    root = clinic.service.root
    (root / decisions.DECISIONS).unlink(missing_ok=True)
    page = open_page(clinic.url)
    page.goto(f"{clinic.url}/review")
    pictures = "found => found.every((one) => one.complete && one.naturalWidth > 0)"
    page.wait_for_load_state("networkidle")
    assert page.locator(".files img").evaluate_all(pictures)
    first, second = page.locator(".files > li").all()
    first.get_by_role("button", name="Relabel").click()
    first.get_by_text("Choose the new diagnosis first").wait_for()
    first.get_by_role("combobox").select_option("nevus")
    first.get_by_role("button", name="Relabel").click()
    first.get_by_text("decided: relabel as nevus").wait_for()
    second.get_by_role("button", name="Drop").click()
    second.get_by_text("decided: drop").wait_for()
    by_service = (root / decisions.DECISIONS).read_bytes()

    with chdir(root):
        (root / decisions.DECISIONS).unlink()
        list(review.write_page())
        page.goto((root / "reports/review/index.html").as_uri())
        shown = page.locator("figure[data-sha256]")
        shown.nth(0).get_by_role("combobox").select_option("nevus")
        shown.nth(0).get_by_role("button", name="Relabel").click()
        shown.nth(1).get_by_role("button", name="Drop").click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download decisions.csv").click()
        download.value.save_as(tmp_path / "decisions.csv")
        list(review.merge(tmp_path / "decisions.csv"))
    assert (root / decisions.DECISIONS).read_bytes() == by_service
    table = spreadsheets.read(root / decisions.DECISIONS)
    assert sorted(table["decision"]) == ["drop", "relabel"]


def test_decision_needs_the_token_of_its_form_and_bytes_that_were_shown(clinic):
    with clinic.service.client() as client:
        page = client.get("/review").text
        token = page.split('name="token" value="')[1].split('"')[0]
        digest = page.split('name="sha256" value="')[1].split('"')[0]
        form = {"token": token, "kind": "", "page": "1", "number": "0", "position": "0", "sha256": digest, "decision": "keep", "to": ""}
        before = (clinic.service.root / decisions.DECISIONS).read_bytes()
        token_and_file = ({"token": "x"}, {"sha256": "0" * 64}, {"position": "9"})
        wrong = (*token_and_file, {"decision": "delete"}, {"number": "../../etc"}, {"decision": "relabel"})
        statuses = [client.post("/review/decisions", data=form | change).status_code for change in wrong]
        assert statuses == [403, 409, 409, 409, 422, 422]
        assert client.post("/review/decisions", data=form, headers={"Origin": "http://foreign.example"}).status_code == 403
        assert (clinic.service.root / decisions.DECISIONS).read_bytes() == before
        shown = client.get("/review/pictures/0/0")
        assert Image.open(io.BytesIO(shown.content)).format == "JPEG"
        assert client.get("/review/pictures/0/9").status_code == 409
