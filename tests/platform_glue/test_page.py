"""The page of the service: all of it comes from the service; in a browser it asks, shows, goes on and complains."""

import asyncio
import re
import shutil
import threading
import time

import pytest

from serve.job_worker import JobWorker
from serve.page_routes import ASSETS, PAGE
from serve.settings import ServeSettings
from tests.platform_glue.jobs_here import MakersHere
from tests.platform_glue.served_here import ask, service

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 180


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("jobs"))
    return ServeSettings(checkpoint="qm9-small-cond", jobs_folder=folder, job_shard=4).located()


def test_the_page_and_all_that_it_loads_come_from_the_service(settings):
    async def run():
        async with service(settings) as app:
            paths = ["/", *(f"/page/{name}" for name in ASSETS), "/page/other.js", "/page/index.html"]
            return {path: await ask(app, path, method="GET", headers=[]) for path in [*paths, "/docs"]}

    answers = asyncio.run(run())
    assert {path for path, answer in answers.items() if answer.status != 200} == {"/page/other.js", "/page/index.html"}
    text = answers["/"].body.decode()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert set(loaded) == {
        "data:,",
        "#molecules",
        "docs",
        *(f"page/{name}" for name in ASSETS if "swagger" not in name),
    }
    assert set(re.findall(r'(?:src|href)="([^"]+)"', answers["/docs"].body.decode())) == {
        "data:,",
        "/page/swagger-ui-bundle.js",
        "/page/swagger-ui.css",
    }
    policy = answers["/"].headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_every_element_that_the_scripts_name_is_in_the_page():
    text = (PAGE / "index.html").read_text()
    scripts = "".join((PAGE / name).read_text() for name in ("form.js", "gallery.js", "page.js"))
    there = set(re.findall(r'id="([\w-]+)"', text))
    assert set(re.findall(r'byId\("([\w-]+)"\)', scripts)) <= there
    assert not re.search(r"https?://", scripts.replace("http://www.w3.org/2000/svg", ""))


@pytest.fixture(scope="module")
def address(settings):
    """Of the service, with its jobs done in this process."""
    uvicorn = pytest.importorskip("uvicorn")
    ended, servers = threading.Event(), []

    def work():
        worker = JobWorker(settings, MakersHere())
        while not ended.is_set():
            worker.look()
            time.sleep(0.2)

    async def run():
        async with service(settings) as app:
            servers.append(uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error")))
            await servers[0].serve()

    threads = [threading.Thread(target=target) for target in (work, lambda: asyncio.run(run()))]
    for thread in threads:
        thread.start()
    while not (servers and servers[0].started):
        time.sleep(0.1)
    yield f"http://127.0.0.1:{servers[0].servers[0].sockets[0].getsockname()[1]}/"
    ended.set()
    servers[0].should_exit = True
    for thread in threads:
        thread.join()


@pytest.fixture
def page(address):
    """The page in headless Chromium; nothing but the service may be asked for anything."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--enable-unsafe-swiftshader"]
        browser = driver.chromium.launch(executable_path=found, args=arguments)
        opened = browser.new_page(viewport={"width": 1200, "height": 900})
        opened.set_default_timeout(SECONDS * 1000)
        foreign, errors = [], []
        opened.on("request", lambda request: foreign.append(request.url))
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.goto(address)
        opened.wait_for_selector(".property")
        yield opened
        assert not errors, errors
        assert all(url.startswith((address, "data:", "blob:")) for url in foreign)
        browser.close()


def told(page, word):
    page.locator("#told", has_text=re.compile(f"^{word}")).wait_for()
    return page.text_content("#told")


@pytest.mark.slow
def test_molecules_are_asked_for_seen_turned_and_kept(page, address, tmp_path):
    page.fill("#number", "3")
    page.fill("#smallest", "12")
    page.fill("#largest", "16")
    page.click("#make")
    assert told(page, "Done").startswith("Done: 3 delivered of ")
    assert page.locator("#gallery li").count() == 3
    assert page.is_hidden("#problem")
    assert all(12 <= int(text.split()[0]) <= 16 for text in page.locator(".facts").all_text_contents())
    assert page.locator("#gallery img").first.get_attribute("src").startswith("data:image/png")
    page.locator("#gallery button").first.press("Enter")
    page.wait_for_selector("#values td")
    assert page.locator("#scene canvas").count() == 1
    page.mouse.move(600, 300)
    page.mouse.down()
    page.mouse.move(700, 350)
    page.mouse.up()
    page.keyboard.press("Escape")
    page.locator("#gallery input").first.check()
    assert page.text_content("#chosen") == "1 of 3 selected"
    for kind, lines in (("csv", 2), ("sdf", None)):
        with page.expect_download() as download:
            page.click(f"#{kind}")
        text = (download.value.path()).read_text()
        assert len(text.splitlines()) == lines if lines else text.count("$$$$") == 1
    page.reload()
    assert told(page, "Done").startswith("Done: 3 delivered")
    page.wait_for_selector("#gallery li:nth-child(3)")
    assert (page.input_value("#number"), page.input_value("#largest")) == ("3", "16")
    assert '"until":3' in page.text_content("#curl")
    assert f'Client("{address}")' in page.text_content("#python")


@pytest.mark.slow
def test_a_job_is_cancelled_and_a_mistake_is_told(page):
    page.fill("#number", "500")
    page.locator(".property").first.locator("input[type=checkbox]").check()
    page.click("#make")
    page.click("#cancel")
    assert told(page, "Cancelled")
    page.fill("#formula", "C9Zz2")
    page.click("#make")
    page.wait_for_selector("#problem:not([hidden])")
    assert "atoms_Zz" in page.text_content("#problem")
