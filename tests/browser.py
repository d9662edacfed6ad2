#!/usr/bin/env python3
"""browser.py PAGE...: what a reader's browser makes of pages of gradiometer report.

Drives headless Chromium through chromedriver (WebDriver over HTTP, standard library only) and checks, of each page in a
light and a dark scheme, on a wide and a narrow window, in print and without its script: nothing on the console, nothing
fetched; every figure visible, its labels inside the picture and not over one another; text readable on its ground; the
slider moves by the keyboard, and the films of a run move together. With --shots DIR it leaves pictures of the pages.
"""
import argparse
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

CHROMIUM = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"]
KEYS = {"left": "\ue012", "right": "\ue014", "home": "\ue011", "end": "\ue010"}
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One session of Chromium with a new, empty profile."""

    def __init__(self):
        self.session = None
        self.profile = tempfile.mkdtemp(prefix="gradiometer-browser-")
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True)
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        for line in self.driver.stdout:
            port = re.search(r"started successfully on port (\d+)", line)
            if port:
                break
        else:
            raise RuntimeError("chromedriver did not start")
        self.root = f"http://127.0.0.1:{port[1]}"
        options = {"binary": shutil.which("chromium"),
                   "args": CHROMIUM + ["--user-data-dir=" + self.profile, "--window-size=1100,900"]}
        answer = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL"}, "goog:chromeOptions": options}}})
        self.session = "/session/" + answer["sessionId"]

    def call(self, method, path, body=None):
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.root + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def load(self, path):
        self.call("POST", self.session + "/url", {"url": "file://" + os.path.abspath(path)})

    def run(self, script, *arguments):
        return self.call("POST", self.session + "/execute/sync", {"script": script, "args": list(arguments)})

    def devtools(self, command, **parameters):
        return self.call("POST", self.session + "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def media(self, scheme, kind=""):
        self.devtools("Emulation.setEmulatedMedia", media=kind,
                      features=[{"name": "prefers-color-scheme", "value": scheme}])

    def window(self, width):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)

    def console(self):
        return self.call("POST", self.session + "/se/log", {"type": "browser"})

    def press(self, selector, key):
        element = self.call("POST", self.session + "/element", {"using": "css selector", "value": selector})
        self.call("POST", f"{self.session}/element/{element[ELEMENT]}/value", {"text": KEYS[key]})

    def shot(self, path):
        size = self.run("return [innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        image = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(image))

    def close(self):
        try:
            if self.session:
                self.call("DELETE", self.session)
        finally:
            self.driver.terminate()
            self.driver.wait()
            shutil.rmtree(self.profile, ignore_errors=True)


def print_page(page, path):
    """The page on paper, by a process of its own: of a long one it takes its time."""
    profile = tempfile.mkdtemp(prefix="gradiometer-browser-")
    try:
        subprocess.run([shutil.which("chromium"), *CHROMIUM, "--user-data-dir=" + profile, "--no-pdf-header-footer",
                        "--print-to-pdf=" + path, "file://" + os.path.abspath(page)],
                       check=True, timeout=600, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finally:
        shutil.rmtree(profile, ignore_errors=True)


# Of every figure that is shown: its size, labels that leave the picture, and pairs of labels that lie over one another
# (both by more than a pixel and a half, rotated ones left to the eye).
FIGURES = """
return [...document.querySelectorAll(arguments[0])].filter(f => getComputedStyle(f).display !== 'none').map(f => {
  const svg = f.querySelector('svg'), missing = f.querySelector('.missing');
  if (!svg) return {id: f.id, width: missing ? missing.offsetWidth : 0, height: missing ? missing.offsetHeight : 0,
                    out: [], over: []};
  const whole = svg.getBoundingClientRect(), slack = 1.5;
  const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim())
    .map(t => ({text: t.textContent.trim(), box: t.getBoundingClientRect()}));
  const out = texts.filter(t => t.box.left < whole.left - slack || t.box.right > whole.right + slack ||
                                t.box.top < whole.top - slack || t.box.bottom > whole.bottom + slack);
  const over = [];
  texts.forEach((a, i) => texts.slice(i + 1).forEach(b => {
    const across = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
    const down = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
    /* The box of a line of text is higher than its letters. */
    if (across > slack && down > 0.3 * Math.min(a.box.height, b.box.height)) over.push(a.text + ' | ' + b.text);
  }));
  return {id: f.id, width: whole.width, height: whole.height, out: out.map(t => t.text), over: over};
});
"""

# The lowest contrast (WCAG 2) of text and of the lines in figures on the page's ground, the grid aside.
CONTRAST = """
const channel = v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number);
                     return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
const ground = light(getComputedStyle(document.documentElement).backgroundColor);
const against = c => { const a = light(c); return (Math.max(a, ground) + 0.05) / (Math.min(a, ground) + 0.05); };
const shown = e => e.getClientRects().length > 0;
const words = [...document.querySelectorAll('h1,h2,h3,h4,p,a,td,th,caption,figcaption,label,output,footer')]
  .filter(shown).map(e => against(getComputedStyle(e).color));
document.querySelectorAll('svg text').forEach(t => { if (shown(t)) words.push(against(getComputedStyle(t).fill)); });
const lines = [];
document.querySelectorAll('svg path, svg line').forEach(p => {
  const stroke = getComputedStyle(p).stroke, grid = arguments[0];
  if (shown(p) && stroke.startsWith('rgb') && !grid.includes(stroke)) lines.push(against(stroke));
});
return [Math.min(...words), lines.length ? Math.min(...lines) : 99, ground];
"""
GRID = ["rgb(217, 217, 217)", "rgb(58, 61, 64)"]
TEXT_CONTRAST, LINE_CONTRAST = 4.5, 1.9  # orange on white has 2.2

FILMS = """
return [...document.querySelectorAll('.film')].map(film => ({
  frames: film.querySelectorAll('figure').length,
  shown: [...film.querySelectorAll('figure')].map((f, i) => getComputedStyle(f).display !== 'none' ? i : -1)
    .filter(i => i >= 0),
  key: [...film.querySelectorAll('figure')].map((f, i) => f.classList.contains('key') ? i : -1).filter(i => i >= 0),
  slider: getComputedStyle(film.querySelector('.stepper')).display !== 'none',
  says: film.querySelector('output').value,
  step: (film.querySelector('figure.shown') || {dataset: {step: ''}}).dataset.step,
  section: film.closest('section').id,
  id: film.querySelector('input').id}));
"""


class Check:
    def __init__(self, name):
        self.name, self.failures, self.made = name, 0, 0

    def that(self, holds, *what):
        self.made += 1
        if not holds:
            self.failures += 1
            print(f"{self.name}:", *what, file=sys.stderr)


def check_figures(browser, check, where, which="figure"):
    figures = browser.run(FIGURES, which)
    for figure in figures:
        check.that(figure["width"] > 100 and figure["height"] > 20, where, figure["id"], "has no size")
        check.that(not figure["out"], where, figure["id"], "labels leave the picture:", figure["out"])
        check.that(not figure["over"], where, figure["id"], "labels over one another:", figure["over"])
    return len(figures)


def check_films(browser, check):
    """Every frame by the keyboard, and the other films of the run with it."""
    films = browser.run(FILMS)
    for film in films:
        last = film["frames"] - 1
        check.that(film["slider"] and film["shown"] == [last], film["id"], "does not begin at its last step", film)
    seen = set()
    for number, film in enumerate(films):
        selector = "#" + film["id"]
        browser.press(selector, "home")
        for at in range(film["frames"]):
            now = browser.run(FILMS)
            check.that(now[number]["shown"] == [at], film["id"], "shows", now[number]["shown"], "expected", at)
            check.that(now[number]["says"].replace(",", "") == now[number]["step"], film["id"], "says", now[number])
            for other in now:
                if other["section"] == film["section"] and other["frames"] == film["frames"]:
                    check.that(other["step"] == now[number]["step"], other["id"], "does not follow", film["id"])
            if film["section"] not in seen:  # all films of the run have moved
                check_figures(browser, check, f"step {now[number]['step']}:", f"#{film['section']} .film figure")
            if at + 1 < film["frames"]:
                browser.press(selector, "right")
        browser.press(selector, "left")
        check.that(browser.run(FILMS)[number]["shown"] == [film["frames"] - 2], film["id"], "does not go back")
        browser.press(selector, "end")
        seen.add(film["section"])
    return len(films)


def check_keys(browser, check, where):
    """Where the slider is not, the key frames are there."""
    for film in browser.run(FILMS):
        check.that(not film["slider"] and film["shown"] == film["key"] and 2 <= len(film["key"]) <= 3, where,
                   film["id"], "shows", film["shown"], "expected", film["key"])


def check_page(browser, page, shots):
    check = Check(os.path.basename(page))
    name = os.path.splitext(os.path.basename(page))[0]
    browser.console()
    browser.media("light")
    browser.window(1100)
    browser.load(page)
    figures = check_figures(browser, check, "wide:")
    films = check_films(browser, check)
    for scheme in "light", "dark":
        browser.media(scheme)
        text, line, ground = browser.run(CONTRAST, GRID)
        check.that((ground > 0.5) == (scheme == "light"), scheme, "ground has luminance", ground)
        check.that(text >= TEXT_CONTRAST, scheme, "text has a contrast of", text)
        check.that(line >= LINE_CONTRAST, scheme, "lines have a contrast of", line)
        if shots:
            browser.shot(f"{shots}/{name}-{scheme}.png")
    browser.media("light")
    for width in 1100, 700:
        browser.window(width)
        wide = browser.run("return document.documentElement.scrollWidth")
        check.that(wide <= width, "a window of", width, "shows a page of", wide)
        check_figures(browser, check, f"window of {width}:")
    browser.window(1100)

    browser.media("dark", "print")
    check_keys(browser, check, "print:")
    ground = browser.run(CONTRAST, GRID)[2]
    check.that(ground > 0.99, "print: the paper has luminance", ground)
    with tempfile.TemporaryDirectory() as folder:
        paper = f"{shots or folder}/{name}.pdf"
        print_page(page, paper)
        check.that(os.path.getsize(paper) > 10000, "print: no pages")
    browser.media("light")
    fetched = browser.run("return performance.getEntriesByType('resource').map(e => e.name)")
    check.that(not fetched, "fetched", fetched)
    for entry in browser.console():
        check.that(False, "console:", entry["level"], entry["message"])

    with open(page, encoding="utf-8") as file:
        still = re.sub(r"<script>.*?</script>", "", file.read(), flags=re.S)
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file:
        file.write(still)
        file.flush()
        browser.load(file.name)
        check_keys(browser, check, "without script:")
        check_figures(browser, check, "without script:")
    print(f"{check.name}: {figures} figures and {films} films, {check.made} checks, {check.failures} failed")
    return check.failures


def check_the_checks(browser):
    """A page that is wrong in every way that is looked for must not pass."""
    check, quiet = Check("page of faults"), open(os.devnull, "w", encoding="utf-8")
    page = ("<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>x</title><body style='color:#aaa'><h4>grey</h4>"
            "<figure id='flat'><svg viewBox='0 0 9 9' style='width:0;height:0'></svg></figure>"
            "<figure id='cut'><svg viewBox='0 0 99 99' width='300' height='300'><text x='80' y='50'>out of it</text>"
            "<text x='10' y='20'>one</text><text x='12' y='21'>two</text></svg></figure>"
            "<script>console.error('loud')</script>")
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file:
        file.write(page)
        file.flush()
        browser.console()
        browser.load(file.name)
        stderr, sys.stderr = sys.stderr, quiet
        check_figures(browser, check, "")
        sys.stderr = stderr
        loud = [e for e in browser.console() if "loud" in e["message"]]
        text = browser.run(CONTRAST, GRID)[0]
    quiet.close()
    if check.failures != 3 or not loud or text >= TEXT_CONTRAST:
        raise RuntimeError(f"the checks do not see what they should: {check.failures}, {loud}, {text}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", nargs="+")
    parser.add_argument("--shots", metavar="DIR", help="leave screenshots and PDFs of the pages there")
    given = parser.parse_args()
    if given.shots:
        os.makedirs(given.shots, exist_ok=True)
    began = time.monotonic()
    browser = Browser()
    try:
        check_the_checks(browser)
        failures = sum(check_page(browser, page, given.shots) for page in given.page)
    finally:
        browser.close()
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
