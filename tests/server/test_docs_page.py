"""The page of the API's description in Chromium."""

import shutil

import pytest

from tests.support.fake_service import picture, started_application

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.sweep, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]


def test_request_can_be_tried_without_another_host(tmp_path):
    pytest.importorskip("fastapi_swagger")
    from playwright.sync_api import sync_playwright

    image = tmp_path / "image.png"
    image.write_bytes(picture(1, 200))
    asked: list[str] = []
    problems: list[str] = []
    with started_application(tmp_path) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: problems.append(message.text) if "Content Security Policy" in message.text else None)
        page.goto(f"{url}/docs")
        page.locator(".opblock-summary-control").first.click()
        page.locator(".try-out__btn").first.click()
        page.set_input_files("input[type=file]", image)
        page.locator(".execute").first.click()
        page.wait_for_selector(".live-responses-table .response-col_description")
        assert page.locator(".live-responses-table tbody .response-col_status").first.inner_text().startswith("200")
        browser.close()
    assert not problems
    assert {address for address in asked if not address.startswith((url, "data:", "blob:"))} == set()
