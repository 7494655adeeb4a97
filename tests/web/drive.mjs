// Plays a person at the page in real Chromium, and reports as JSON what came of it.
//
//     node drive.mjs page|site|still|watch URL FOLDER

import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(new URL("../../export/web/", import.meta.url))("playwright-core");
const [what, url, folder] = process.argv.slice(2);
const flags = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--no-first-run",
];
// What the page computes has no time limit in Playwright: a drive that hangs says where, and takes its
// browser along.
let last = "the launch";
setTimeout(() => (console.error("hangs after", last), process.exit(1)), 100_000).unref();

/** A page that notes what it was asked last. */
const noted = (target) => new Proxy(target, {
  get(_, name) {
    const value = target[name];
    if (typeof value !== "function") return value;
    return (...given) => ((last = `${name} ${given[0]}`), value.apply(target, given));
  },
});

const browser = await chromium.launchPersistentContext(join(folder, `profile-${what}`), {
  executablePath: "/usr/bin/chromium", args: flags, viewport: { width: 1100, height: 800 },
  reducedMotion: what === "still" ? "reduce" : "no-preference",
});
const page = noted(browser.pages()[0]);
const found = { errors: [], requests: [] };
page.on("pageerror", (error) => found.errors.push(error.message));
page.on("console", (message) => message.type() === "error" && found.errors.push(message.text()));
page.on("request", (request) => found.requests.push(request.url()));

const frames = () => page.evaluate(() => Number(document.documentElement.dataset.frames ?? 0));
const picture = () => page.evaluate(() => document.getElementById("picture").toDataURL());
const toast = () => page.textContent("#toast");
const settled = () => page.waitForTimeout(150);

/** Whether it comes true within ten seconds: a busy machine may need some. */
async function becomes(holds) {
  for (const end = Date.now() + 10_000; Date.now() < end; await page.waitForTimeout(50)) if (await holds()) return true;
  return false;
}

/** Keep what the canvas shows, and later say whether it shows that again: Chromium's enlargement may
 * set a byte in a million one level apart. */
const remember = () => page.evaluate(() => {
  const canvas = document.getElementById("picture");
  window.shown = () => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  window.kept = window.shown();
});
const isAgain = () => page.evaluate(() => {
  const off = window.shown().map((level, i) => Math.abs(level - window.kept[i])).filter((level) => level);
  return off.length < window.kept.length / 1000 && off.every((level) => level === 1);
});

/** The picture that stands for three looks in a row. */
async function atRest() {
  const seen = [];
  await becomes(async () => seen.push(await picture()) > 2 && new Set(seen.slice(-3)).size === 1);
  return seen.at(-1);
}

async function watched() {
  await page.waitForFunction(() => document.documentElement.dataset.frames >= 1, null, { timeout: 15_000 });
  found.first_frame_s = (await page.evaluate(() => performance.now())) / 1000;
  const [from, since] = [await frames(), Date.now()];
  await page.waitForTimeout(1500);
  found.frames_per_s = ((await frames()) - from) / ((Date.now() - since) / 1000);
  found.about = await page.textContent("#about");
  found.pixels = await page.evaluate(async () => {
    const all = await vidgan.generator.frames([0, 7, 29].map((i) => vidgan.latent(i)));
    return all.map((one) => btoa(String.fromCharCode(...one.data)));
  });
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
  await page.click("#play"); // pause
  const resting = await atRest();
  await settled();
  found.rests = resting === (await picture());
  await remember();
  const [x, y] = await middle("#picture");
  await dragged([x, y], [x + 90, y + 40]);
  found.drag_moves = await becomes(async () => !(await isAgain()));
  await page.mouse.move(x, y);
  found.drag_comes_back = await becomes(isAgain);
  await page.mouse.move(x + 90, y + 40);
  await page.mouse.up();
  await page.click("#crisp");
  await saved("#record", "film"); // the path, not where the drag has led
  await saved("#save", "seeds.json");
  await page.click("#keep");
  found.kept = await keyframes();
  await dragged(await middle("#strip .key", 3), [(await middle("#strip .key", 0))[0] - 12, (await middle("#strip .key", 0))[1]]);
  await page.mouse.up();
  found.reordered = await keyframes();
  await page.locator("#strip .key").nth(1).focus();
  await page.keyboard.press("Delete");
  found.removed = await keyframes();
  await saved("#save", "latents.json");
  await page.setInputFiles("#file", join(folder, "seeds.json"));
  await settled();
  found.loaded = await keyframes();
  await page.selectOption("#path", "circle");
  await saved("#save", "circle.json");
  found.circle = await page.evaluate(async () => btoa(String.fromCharCode(...(await vidgan.generator.frames([vidgan.latent(9)]))[0].data)));
  found.loop_is_fixed = await page.isDisabled("#loop");
  found.unused = await page.locator("#strip .unused").count();
  await page.setInputFiles("#file", { name: "x.json", mimeType: "application/json", buffer: Buffer.from('{"format": "vidgan-walk-1", "z_dim": 5}') });
  await settled();
  found.refusal = await toast();
  await page.fill("#seed", "18446744073709551615");
  await page.keyboard.press("Enter");
  await settled();
  await page.keyboard.press("g");
  await settled();
  found.nine = await page.evaluate(() => document.getElementById("picture").width / vidgan.generator.info.width);
  found.hash = await page.evaluate(() => new Promise((done) => setTimeout(() => done(location.hash), 300)));
}

try {
  if (what === "still") {
    // A browser without H.264, as some are built.
    await page.addInitScript(() => {
      const known = VideoEncoder.isConfigSupported.bind(VideoEncoder);
      VideoEncoder.isConfigSupported = async (config) => (config.codec.startsWith("avc1") ? { supported: false } : known(config));
    });
  }
  await page.goto(url);
  if (what === "still") {
    await page.waitForFunction(() => document.documentElement.dataset.frames >= 1, null, { timeout: 15_000 });
    await settled();
    const resting = await picture();
    await page.waitForTimeout(400);
    found.rests = resting === (await picture());
    found.overflow = [];
    for (const width of [320, 390, 820, 1280]) {
      await page.setViewportSize({ width, height: 800 });
      if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) found.overflow.push(width);
    }
    await saved("#record", "film.webm");
  } else await watched();
  if (what === "page") await used();
  [found.isolated, found.cores] = await page.evaluate(() => [crossOriginIsolated, navigator.hardwareConcurrency]);
} catch (error) {
  console.error(JSON.stringify(found), await toast());
  throw error;
} finally {
  await browser.close();
}
console.log(JSON.stringify(found));
