// Uses the page in real Chromium as a person would, and prints what happened as JSON.
//
//     node drive.mjs page|mended|played|handled|slid|photo|extras|sounds|site|doubleclick|software|classes|still|watch URL FOLDER
//
// page: everything on it. mended: what once went wrong. played: undo, finds, children,
// the map, and what can be sent. handled: a gamepad and a MIDI controller. slid: the sliders. photo: a picture of one's own. extras: time travel and the quiz. sounds: music and the microphone. site: its first frames. doubleclick: the same
// opened as a file. software: it has a GPU in name only. classes: those of a page of classes. still: a browser with reduced motion and no H.264.
// watch: how fast it plays.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { launched } from "./chromium.mjs";

const [what, url, folder] = process.argv.slice(2);
const flags = [];
const software = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan", "--use-vulkan=swiftshader", "--ignore-gpu-blocklist"];
if (what === "sounds") flags.push("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream");
flags.push(...(what === "software" ? software : ["--disable-gpu"]));
// Playwright sets no time limit for what the page computes. If that hangs, say where, and exit.
let last = "the launch";
setTimeout(() => (console.error("hangs after", last), process.exit(1)), 220_000).unref();

/** The page, which also notes the name of the last call. */
const noted = (target) => new Proxy(target, {
  get(_, name) {
    const value = target[name];
    if (typeof value !== "function") return value;
    return (...given) => ((last = `${name} ${given[0]}`), value.apply(target, given));
  },
});

const { browser, page: itself, faults: errors, fetched: requests } = await launched(folder, {
  viewport: { width: 1100, height: 800 }, reducedMotion: what === "still" ? "reduce" : "no-preference",
}, flags);
const page = noted(itself), report = { errors, requests };

const frames = () => page.evaluate(() => Number(document.documentElement.dataset.frames ?? 0));
const picture = () => page.evaluate(() => document.getElementById("picture").toDataURL());
const toast = () => page.textContent("#toast");
const settled = () => page.waitForTimeout(150);

/** Whether a condition becomes true within ten seconds; a busy machine may need some of them. */
async function becomes(holds) {
  for (const end = Date.now() + 10_000; Date.now() < end; await page.waitForTimeout(50)) if (await holds()) return true;
  return false;
}

/** Remember what the canvas shows, and say later whether it shows the same. When Chromium enlarges a
 * picture again, one byte in a million may differ by one level. */
const remember = () => page.evaluate(() => {
  const canvas = document.getElementById("picture");
  window.shown = () => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  window.kept = window.shown();
});
const isAgain = () => page.evaluate(() => {
  const differences = window.shown().map((level, i) => Math.abs(level - window.kept[i])).filter((level) => level);
  return differences.length < window.kept.length / 1000 && differences.every((level) => level === 1);
});

/** The picture, once it has been the same three times in a row. */
async function atRest() {
  const pictures = [];
  await becomes(async () => pictures.push(await picture()) > 2 && new Set(pictures.slice(-3)).size === 1);
  return pictures.at(-1);
}

const firstFrame = () => page.waitForFunction(() => document.documentElement.dataset.frames >= 1, null, { timeout: what === "software" ? 90_000 : 60_000 });

async function watched() {
  report.first_frame_s = (await page.evaluate(() => performance.now())) / 1000;
  const [from, since] = [await frames(), Date.now()];
  await page.waitForTimeout(1500);
  report.frames_per_s = ((await frames()) - from) / ((Date.now() - since) / 1000);
}

async function computed() {
  report.about = await page.textContent("#about");
  [report.isolated, report.cores] = await page.evaluate(() => [crossOriginIsolated, navigator.hardwareConcurrency]);
  report.pixels = await page.evaluate(async () => {
    const all = await vidgan.generator.frames([0, 7, 29].map(vidgan.latent), [0, 7, 29].map(vidgan.weights));
    return all.map((one) => btoa(String.fromCharCode(...one.data)));
  });
}

async function stayedStill() {
  await settled();
  const resting = await picture();
  await page.waitForTimeout(400);
  report.rests = resting === (await picture());
  await overflows();
  await saved("#record", "film.webm");
}

/** Remember the widths at which the page does not fit, and what is too small there for a finger or has no name. */
async function overflows() {
  Object.assign(report, { overflow: [], small: [] });
  for (const width of [320, 390, 820, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) report.overflow.push(width);
    report.small.push(...(await page.evaluate(() => {
      const seen = [...document.querySelectorAll("button, select, input, [tabindex='0']")].filter((one) => one.checkVisibility());
      const named = (one) => one.ariaLabel || one.labels?.length || one.textContent.trim();
      return seen.filter((one) => Math.min(one.offsetWidth, one.offsetHeight) < 24 || !named(one)).map((one) => one.outerHTML);
    })));
  }
}

async function saved(button, name) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click(button)]);
  await download.saveAs(join(folder, name));
}

async function dragged(from, to) {
  await page.mouse.move(...from);
  await page.mouse.down();
  await page.mouse.move((from[0] + to[0]) / 2, (from[1] + to[1]) / 2);
  await page.mouse.move(...to);
  await settled();
}

const keyframes = () => page.evaluate(() => vidgan.walk.keyframes.map((k) => k.index ?? "latent"));
const middle = async (selector, n = 0) => {
  const box = await page.locator(selector).nth(n).boundingBox();
  return [box.x + box.width / 2, box.y + box.height / 2];
};

async function used() {
  report.says = await page.evaluate(() => ["header", "#hint"].map((what) => document.querySelector(what).innerText).join(" "));
  await page.click("#play"); // pause
  const resting = await atRest();
  await settled();
  report.rests = resting === (await picture());
  await remember();
  const [x, y] = await middle("#picture");
  await dragged([x, y], [x + 90, y + 40]);
  report.drag_moves = await becomes(async () => !(await isAgain()));
  await page.mouse.move(x, y);
  report.drag_comes_back = await becomes(isAgain);
  await page.mouse.move(x + 90, y + 40);
  await page.mouse.up();
  await page.click("#crisp");
  await saved("#record", "film"); // of the path, wherever the drag has led
  await page.selectOption("#kind", "WebM");
  await saved("#record", "page.webm");
  await saved("#save", "seeds.json");
  await page.click("#keep");
  report.kept = await keyframes();
  await dragged(await middle("#strip .key", 3), [(await middle("#strip .key", 0))[0] - 12, (await middle("#strip .key", 0))[1]]);
  await page.mouse.up();
  report.reordered = await keyframes();
  await page.locator("#strip .key").nth(1).focus();
  await page.keyboard.press("Delete");
  report.removed = await keyframes();
  await saved("#save", "latents.json");
  await page.setInputFiles("#file", join(folder, "seeds.json"));
  await settled();
  report.loaded = await keyframes();
  await page.selectOption("#path", "circle");
  await saved("#save", "circle.json");
  report.circle = await page.evaluate(async () => btoa(String.fromCharCode(...(await vidgan.generator.frames([vidgan.latent(9)]))[0].data)));
  report.loop_is_fixed = await page.isDisabled("#loop");
  report.unused = await page.locator("#strip .unused").count();
  await page.setInputFiles("#file", { name: "x.json", mimeType: "application/json", buffer: Buffer.from('{"format": "vidgan-walk-2", "z_dim": 5}') });
  await settled();
  report.refusal = await toast();
  await page.fill("#seed", "18446744073709551615");
  await page.keyboard.press("Enter");
  await settled();
  await page.keyboard.press("g");
  await settled();
  report.nine = await page.evaluate(() => document.getElementById("picture").width / vidgan.generator.info.width);
  report.hash = await page.evaluate(() => new Promise((done) => setTimeout(() => done(location.hash), 300)));
}

/** What a person sees who loads a walk with these keys. */
async function loading(keys) {
  const walk = { format: "vidgan-walk-2", z_dim: 100, ...keys };
  await page.evaluate(() => (document.getElementById("toast").textContent = ""));
  await page.setInputFiles("#file", { name: "x.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify(walk)) });
  await becomes(toast);
  return toast();
}

async function mended() {
  const size = async (selector) => {
    const { width, height } = await page.locator(selector).first().boundingBox();
    return [width, height];
  };
  const [download] = await Promise.all([page.waitForEvent("download"), (async () => {
    await page.click("#record");
    await becomes(async () => (await page.getAttribute("#record-progress", "value")) > 0);
    await page.keyboard.press("r"); // while the film is made
    await page.locator("#truncation").fill("0.1");
    await page.locator("#speed").fill("-2");
  })()]);
  report.film = download.suggestedFilename();
  await download.saveAs(join(folder, "touched"));
  const seed = await page.evaluate(() => vidgan.walk.seed);
  report.many = await loading({ frames: 1e9 });
  report.unknown = [await loading({ fraems: 10 }), await loading({ keyframes: [{ seed: 1, index: 0, weight: 2 }] })];
  report.several = await loading({ truncation: [0.7, 1] });
  report.refused_leave_it = seed === (await page.evaluate(() => vidgan.walk.seed));
  report.hundreds = await loading({ frames: 30_000, path: "slerp" });
  await page.setInputFiles("#file", join(folder, "of-python.json"));
  await becomes(() => page.evaluate(() => vidgan.walk.truncation === 0.7));
  await saved("#save", "of-page.json");
  report.link = [await page.isVisible("#link"), await page.isVisible("#page")];
  await page.locator("#strip .key").nth(1).hover();
  report.remove = await size("#strip li:nth-child(2) .remove");
  report.picture = {};
  for (const [width, height] of [[844, 390], [667, 375], [932, 430]]) {
    await page.setViewportSize({ width, height });
    report.picture[width] = await size("#picture");
  }
  report.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.keyboard.press("f");
  await becomes(() => page.evaluate(() => !!document.fullscreenElement));
  const covers = (id) => page.evaluate((id) => {
    const box = document.getElementById(id).getBoundingClientRect();
    return !!document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2)?.closest(`#${id}`);
  }, id);
  report.in_full_screen = [await covers("play"), await covers("seek")];
}

async function played() {
  const walk = () => page.evaluate(() => [vidgan.walk.seed, ...vidgan.walk.keyframes.map((k) => k.index ?? "latent")].join(" "));
  const seen = (count) => page.locator("#finds li").count().then((now) => now === count);
  const [x, y] = await middle("#picture");
  await page.click("#play"); // pause
  await dragged([x, y], [x + 90, y + 40]);
  await page.mouse.up();
  await page.click("#keep");
  await page.keyboard.press("r");
  report.rolled = await walk();
  await page.fill("#seed", "99");
  await page.keyboard.press("Enter");
  report.sown = await walk();
  await page.keyboard.press("g");
  await atRest();
  await page.mouse.click(x, y); // the fifth of nine
  report.picked = await walk();
  report.left = await becomes(() => seen(3));
  const back = [];
  for (let turn = 0; turn < 4; turn++) {
    await page.goBack();
    back.push(await walk());
  }
  report.back = back;
  report.no_more = await page.isDisabled("#undo");
  await page.goForward();
  report.forward = await walk();
  await page.locator("#strip .key").nth(1).focus();
  await page.keyboard.press("Delete");
  report.without = await walk();
  await page.keyboard.press("Control+z");
  report.undone = await becomes(async () => (await walk()) === report.forward);

  await dragged([x, y], [x - 70, y + 60]);
  await page.mouse.up();
  await atRest();
  await remember();
  const found = await page.locator("#finds li").count();
  await page.click("#return");
  report.returned = (await page.isHidden("#free")) && (await becomes(() => seen(found + 1)));
  await page.click("#play");
  await page.locator("#finds button").first().click();
  report.found_again = await becomes(isAgain);

  await page.keyboard.press("e");
  report.children = await page.textContent("#free-text");
  await atRest();
  await remember();
  await page.keyboard.press("2");
  report.grandchildren = await becomes(async () => !(await isAgain()));
  await atRest();
  await page.click("#keep");
  report.kept_child = await walk();
  await page.click("#map");
  await atRest();
  await remember();
  await page.screenshot({ path: join(folder, "map.png") });
  await dragged([x, y], [x - 200, y - 40]);
  await page.mouse.up();
  await atRest();
  report.roamed = !(await isAgain()) && (await page.isHidden("#free"));
  await page.mouse.click(x + 150, y);
  report.went = await becomes(() => page.isVisible("#free"));
  await page.click("#return");

  await page.goto("about:blank"); // then the page anew, with a walk of its seed alone
  await page.addInitScript(() => {
    navigator.canShare = ({ files }) => files[0].type.startsWith("image/");
    navigator.share = async ({ files }) => (window.shared = files[0].name);
  });
  await page.goto(url);
  await firstFrame();
  await page.click("#play"); // pause
  await page.locator("#seek").fill("0.5");
  await saved("#still", "still.png");
  await page.click("#share");
  report.shared = await page.evaluate(() => window.shared);
  await page.selectOption("#kind", "WebP");
  await saved("#record", "clip.webp");
  await page.selectOption("#kind", "GIF");
  await saved("#record", "clip.gif");
  await dragged([x, y], [x + 90, y + 40]);
  await page.mouse.up();
  await page.click("#keep");
  await saved("#page", "sent.html");
  report.not_shared = await page.isHidden("#share");
  const sent = await page.evaluate(() => JSON.stringify(vidgan.walk, (key, value) => (ArrayBuffer.isView(value) ? [...value] : value)));
  await page.goto(pathToFileURL(join(folder, "sent.html")).href);
  await firstFrame();
  report.arrived = sent === (await page.evaluate(() => JSON.stringify(vidgan.walk, (key, value) => (ArrayBuffer.isView(value) ? [...value] : value))));
  await saved("#page", "again.html");
  await computed();
}

async function handled() {
  const hold = (axes) => page.evaluate((axes) => (window.pad.axes = axes), axes);
  const press = async (n) => {
    for (const pressed of [true, false]) {
      await page.evaluate(([n, pressed]) => (window.pad.buttons[n].pressed = pressed), [n, pressed]);
      await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))); // the page has seen it
    }
  };
  const place = () => page.locator("#seek").inputValue().then(Number);
  const slider = (n) => page.locator("#sliders input").nth(n).inputValue().then(Number);
  await page.click("#play"); // pause
  await page.evaluate(() => window.dispatchEvent(Object.assign(new Event("gamepadconnected"), { gamepad: window.pad })));
  report.found = (await toast()).includes("a pad");
  await hold([0.1, -0.1, 0.1, 0]); // at rest, as sticks are
  await settled();
  report.rests = (await page.isHidden("#free")) && !(await slider(0));
  await hold([1, 0, 0, 0]);
  report.sticks = await becomes(() => page.isVisible("#free"));
  await hold([0, 0, 0, 0]);
  await press(0);
  report.kept = await keyframes();
  await hold([0, 0, 1, -1]);
  report.slides = await becomes(async () => (await slider(0)) > 1 && (await slider(1)) > 1);
  await hold([0, 0, 0, 0]);
  report.linked = await becomes(() => page.evaluate(() => location.hash.includes("directions=")));
  await page.locator("#seek").fill("0");
  await press(15);
  report.next = await place();
  await page.click("#nine");
  await hold([1, 1, 0, 0]);
  await settled();
  await hold([0, 0, 0, 0]); // it still points at the ninth
  await page.screenshot({ path: join(folder, "aim.png") });
  await press(0);
  report.chosen = await page.evaluate(() => vidgan.walk.seed);
  await press(5);
  report.map = await page.getAttribute("#map", "aria-pressed");
  await atRest();
  await remember();
  await hold([-1, 0, 0, 0]);
  report.roams = await becomes(async () => !(await isAgain()));
  await hold([0, 0, 0, 0]);
  await press(0);
  report.went = await becomes(() => page.isVisible("#free"));
  await press(1);
  report.plays = await page.getAttribute("#play", "aria-label");
  await page.click("#play"); // pause

  const play = (...messages) => page.evaluate((all) => all.forEach((data) => window.midi.onmidimessage({ data })), messages);
  await page.keyboard.press("?");
  await page.screenshot({ path: join(folder, "help.png") });
  await page.click("#midi");
  report.midi = await becomes(async () => (await toast()) === "MIDI: some keys");
  const depth = await page.evaluate(() => history.state.depth);
  await play([0xb0, 70, 0], [0xb0, 71, 0], [0xb0, 71, 127], [0xb0, 123, 127], [0x90, 62, 0]); // two knobs, and what is neither
  report.knobs = [await slider(0), await slider(1)];
  report.one_change = await becomes(async () => (await page.evaluate(() => history.state.depth)) > depth) && (await page.evaluate(() => history.state.depth)) - depth;
  await play([0x90, 62, 90]);
  report.key = await place();
  await page.click("#nine");
  await play([0x91, 49, 90]); // the second of nine
  report.picked = await page.evaluate(() => vidgan.walk.seed);
  await overflows();
}

async function slid() {
  const slider = (name) => page.locator(`#slider-${name}`);
  await page.click("#play"); // pause
  await atRest();
  await remember();
  await slider("brighter").fill("1.5");
  report.moves = await becomes(async () => !(await isAgain()));
  await slider("light-left").focus();
  await page.keyboard.press("ArrowLeft");
  report.said = await page.locator("#sliders output").allTextContents();
  await computed();
  await saved("#save", "slid.json");
  await page.locator("#seek").fill("0.5");
  await saved("#still", "slid.png");
  await saved("#page", "slid.html");
  const directions = () => page.evaluate(() => vidgan.walk.directions.map(({ name, strengths }) => [name, ...strengths]));
  const linked = await page.evaluate(() => location.hash);
  await page.goBack();
  report.undone = await directions();
  await page.click("#sliders-reset");
  report.reset = await directions();
  await page.keyboard.press("Control+z");
  report.unreset = (await becomes(async () => (await directions()).length === 1)) && (await slider("brighter").inputValue());

  const [x, y] = await middle("#picture");
  for (const turn of [0, 1]) { // the same drag
    await page.locator("#seek").fill("0.25");
    await dragged([x, y], [x + 90, y + 40]);
    await page.mouse.up();
    await atRest();
    if (turn) report.drags_the_same = await isAgain();
    else await remember();
    await page.click("#return");
    await page.click("#play"); // pause
  }
  await page.setInputFiles("#file", join(folder, "moved.json"));
  report.loaded = await becomes(async () => (await directions()).length === 2) && (await directions());
  report.labels = await page.locator("#sliders label").allTextContents();
  report.moved = await page.evaluate(async () => btoa(String.fromCharCode(...(await vidgan.generator.frames([vidgan.latent(9)]))[0].data)));
  const foreign = await page.evaluate(() => [location.hash, JSON.stringify(vidgan.walk)]);
  for (const [name, address] of [["arrived", url.split("#")[0] + linked], ["sent", pathToFileURL(join(folder, "slid.html")).href]]) {
    await page.goto("about:blank");
    await page.goto(address);
    await firstFrame();
    report[name] = await directions();
  }
  await page.goto("about:blank");
  await page.goto(url.split("#")[0] + foreign[0]);
  await firstFrame();
  report.foreign = foreign[1] === (await page.evaluate(() => JSON.stringify(vidgan.walk)));
  await overflows();
}

async function photographed() {
  await page.click("#play"); // pause
  await page.setInputFiles("#photo-group > input", { name: "photo.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
  report.unreadable = (await becomes(async () => (await toast()).includes("photo.png cannot be read"))) && (await page.isHidden("#free"));
  await page.setInputFiles("#photo-group > input", join(folder, "photo.png"));
  report.found = await becomes(() => page.isVisible("#free"));
  report.labels = await page.evaluate(() => vidgan.walk.labels);
  report.says = await page.textContent("#photo-group");
  await atRest();
  await page.click("#keep");
  await saved("#save", "photo.json");
  const dropped = (kind) => page.evaluate(async ([kind, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes], "wide.png", { type: "image/png" }));
    const event = kind === "paste" ? new ClipboardEvent(kind, { clipboardData: files }) : new DragEvent(kind, { dataTransfer: files });
    window.dispatchEvent(event);
  }, [kind, readFileSync(join(folder, "wide.png")).toString("base64")]);
  for (const kind of ["drop", "paste"]) {
    await dropped(kind);
    report[kind] = await becomes(() => page.isVisible("#free"));
    await atRest();
    await page.click("#keep");
  }
  await saved("#save", "wide.json");
  await saved("#page", "sent.html");
  await overflows();
  await page.goto(pathToFileURL(join(folder, "sent.html")).href);
  await firstFrame();
  report.sent = await page.isVisible("#photo-group");
}

async function travelled() {
  await page.click("#play"); // pause
  await atRest();
  await remember();
  report.ages = [];
  report.pixels = [];
  for (const state of ["0", "1", "2"]) {
    await page.locator("#past").fill(state);
    await becomes(async () => (await isAgain()) === (state === "2"));
    report.ages.push(await page.textContent("#past-group output"));
    report.pixels.push(await page.evaluate(async () => btoa(String.fromCharCode(...(await vidgan.generator.frames([vidgan.latent(0)]))[0].data))));
    if (state === "0") await saved("#save", "past.json");
  }
  report.again = await isAgain();
  await saved("#save", "now.json");

  await page.click("#quiz-open");
  report.real = [];
  for (let round = 0; round < 10; round++) {
    await becomes(() => page.isVisible(".quiz-answers"));
    const shown = await page.evaluate(() => {
      const canvas = document.querySelector(".quiz-picture");
      return btoa(String.fromCharCode(...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data));
    });
    await page.click(".quiz-answers button"); // real, each time
    if ((await page.textContent(".quiz-says")) === "Right: it is real.") report.real.push(shown);
    if (round === 4) await page.screenshot({ path: join(folder, "quiz.png") });
    if (round < 9) await page.click(".quiz-next");
  }
  report.licence = await page.textContent(".quiz-licence");
  report.score = await page.textContent(".quiz-score");
  await page.keyboard.press("Escape");
  report.closed = await page.isHidden("#quiz");
  report.photo = [await page.isVisible("#photo-group"), await page.locator("#encoder").count()];
  await overflows();
}

async function moved() {
  const place = () => page.locator("#seek").inputValue().then(Number);
  await page.click("#play"); // pause
  await page.setInputFiles("#sound-group input", { name: "noise.wav", mimeType: "audio/wav", buffer: Buffer.from("no sound") });
  report.unreadable = await becomes(async () => (await toast()) === "noise.wav cannot be read as sound.");
  const buttons = page.locator("#sound-group button");
  const moves = async () => {
    const since = await place();
    return becomes(async () => Math.abs((await place()) - since) > 0.02);
  };
  await page.setInputFiles("#sound-group input", join(folder, "song.wav"));
  report.music = (await becomes(async () => (await toast()) === "Moved by song.wav")) && (await moves());
  report.note = await page.isVisible("#sound-note");
  await page.click("#play"); // pause
  const resting = await atRest();
  await settled();
  report.rests = resting === (await picture());
  await buttons.nth(0).click(); // stop
  report.stopped = [await buttons.nth(0).textContent(), await buttons.nth(1).isVisible(), await page.isHidden("#sound-note")];
  await buttons.nth(1).click();
  report.microphone = (await becomes(async () => (await toast()) === "Moved by the microphone")) && (await moves());
  await buttons.nth(0).click();
  await overflows();
}

async function opened() {
  await becomes(() => page.textContent("#sorry"));
  report.sorry = await page.textContent("#sorry");
  report.seen = await page.isVisible("#sorry");
}

async function mixed() {
  const texts = (selector) => page.locator(selector).allTextContents();
  report.options = await texts("#classes li:first-child option");
  report.injected = await page.evaluate(() => [window.hacked ?? null, document.querySelectorAll("main img, main script").length]);
  await page.click("#play"); // pause
  await page.locator("#seek").fill("0.25"); // the middle of the first of two classes and the second
  await becomes(async () => (await page.textContent("#mixture")).startsWith("50%"));
  report.mixture = await page.textContent("#mixture");
  await saved("#save", "two.json");
  await page.click("#class-add");
  await page.locator("#classes select").nth(2).selectOption("1");
  report.linked = await becomes(() => page.evaluate(() => location.hash.includes("labels=0,2,1")));
  await saved("#save", "three.json");
  const [x, y] = await middle("#mixer");
  await page.mouse.click(x, y);
  report.mixes = await becomes(async () => (await page.textContent("#mixture")).includes("25%"));
  await page.mouse.move(x, y);
  await page.mouse.down();
  await page.mouse.move(x + 20, y + 10);
  await page.mouse.up();
  await page.screenshot({ path: join(folder, "mixer.png") });
  await saved("#still", "mixed.png");
  await page.click("#play");
  report.left = await becomes(async () => (await page.locator("#finds li").count()) === 1);
  report.unmixed = (await page.isHidden("#mix-take")) && (await becomes(async () => !(await page.textContent("#mixture")).includes("25%")));
  await page.click("#play"); // pause
  await page.mouse.click(x, y);
  await page.locator("#mixer").focus();
  for (let i = 0; i < 14; i++) await page.keyboard.press(i % 2 ? "ArrowUp" : "ArrowLeft"); // into a corner
  report.alone = [await page.getAttribute("#mixer", "aria-valuetext"), await page.evaluate(() => vidgan.walk.labels.join())];
  await page.mouse.click(x, y);
  await page.click("#mix-take");
  report.through = await page.evaluate(() => vidgan.walk.labels.toSorted());
  await page.goBack();
  await becomes(() => page.evaluate(() => vidgan.walk.labels.length === 3));
  await page.locator("#classes button").nth(0).click();
  report.removed = await page.evaluate(() => vidgan.walk.labels);
  await overflows();
  await page.setInputFiles("#file", join(folder, "of-python.json"));
  report.loaded = await becomes(() => page.evaluate(() => String(vidgan.walk.labels) === "0,2,1"));
  await computed();
  report.worst_level = await page.evaluate(() => vidgan.generator.worstLevel(vidgan.generator.info.self_test));
  await page.setInputFiles("#file", { name: "x.json", mimeType: "application/json", buffer: Buffer.from('{"format": "vidgan-walk-2", "z_dim": 100, "labels": [4]}') });
  report.refused = await becomes(async () => (await toast()).includes("labels are not numbers of classes"));
}

const visits = { page: [computed, used], mended: [mended], played: [played], handled: [handled], slid: [slid], photo: [photographed], extras: [travelled], sounds: [moved], site: [computed], software: [computed], doubleclick: [opened], classes: [mixed], still: [stayedStill], watch: [watched] };
try {
  if (what === "still") {
    // Some builds of Chromium have no H.264.
    await page.addInitScript(() => {
      const known = VideoEncoder.isConfigSupported.bind(VideoEncoder);
      VideoEncoder.isConfigSupported = async (config) => (config.codec.startsWith("avc1") ? { supported: false } : known(config));
    });
  }
  if (what === "handled") {
    // What a page sees of a gamepad and of a MIDI controller.
    await page.addInitScript(() => {
      window.pad = { index: 1, id: "a pad", axes: [0, 0, 0, 0], buttons: Array.from({ length: 17 }, () => ({ pressed: false })) };
      navigator.getGamepads = () => [null, window.pad];
      window.midi = { name: "some keys" };
      navigator.requestMIDIAccess = async () => ({ inputs: new Map([["1", window.midi]]) });
    });
  }
  if (what === "site") {
    // The server answers for one file only when the page has asked for the others.
    const others = ["model.onnx", "*.wasm", "ort.*.mjs"].map((name) => page.waitForRequest(`**/${name}`));
    await page.route("**/model.json", async (route) => (await Promise.all(others), route.continue()));
  }
  await page.goto(url);
  if (what !== "doubleclick") await firstFrame();
  for (const visit of visits[what]) await visit();
} catch (error) {
  console.error(JSON.stringify(report), await toast());
  throw error;
} finally {
  await browser.close();
}
console.log(JSON.stringify(report));
