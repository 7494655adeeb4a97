// Uses the lab in real Chromium, and prints what happened as JSON.
//
//     node lab.mjs trained lab.html FOLDER    trains, looks, plays, films, downloads the generator
//     node lab.mjs large lab.html FOLDER      the same with 64x64 pictures from files, two steps of it
//     node lab.mjs played lab.html FOLDER     plays in the plane
//     node lab.mjs losses "" FOLDER           losses of a batch, whose numbers come on stdin
//     node lab.mjs watched lab.html FOLDER IMAGES SIDE [PICTURES]  learns digits, or pictures of a folder, and
//                                             notes when samples came and what they cost

import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { launched } from "./chromium.mjs";

const web = createRequire(new URL("../../export/web/", import.meta.url));
const [what, url, folder, most, side, own] = process.argv.slice(2);
const { browser, page, faults: errors, fetched: requests } = await launched(folder, { viewport: { width: 1180, height: 800 } });
page.setDefaultTimeout(what === "watched" ? 0 : 220_000);
const report = { errors, requests };

async function trained() {
  await page.goto(url);
  await page.waitForFunction(() => vidgan.view.pictures);
  report.count = await page.textContent("#count");
  report.digits = await pictures();
  await page.selectOption("#side", "64");
  report.digits64 = await pictures();
  await page.selectOption("#side", "32");
  await learned(64);
  await taken();
  report.samples = await page.evaluate(() => new Set(vidgan.view.past.at(-1).pixels).size);
  report.rests = await page.evaluate(async () => {
    const before = vidgan.view.images;
    await vidgan.ask("frames", { latents: [new Float32Array(100).fill(1)] });
    return vidgan.view.images === before;
  });
  await page.click("#walk");
  await page.waitForFunction(() => document.documentElement.dataset.frames >= 2);
  await page.evaluate(() => (vidgan.view.play.walk.speed = 8)); // 30 frames
  await saved("#film", "film.mp4");
  await page.waitForFunction(() => vidgan.view.playing); // goes on
  const seed = await page.evaluate(() => vidgan.view.play.walk.seed);
  await page.click("#another");
  await page.waitForFunction((before) => vidgan.view.play?.walk.seed !== before, seed);
  await page.click("#train");
  const images = await page.evaluate(() => vidgan.view.images);
  await page.waitForFunction((images) => vidgan.view.images > images, images);
  await page.click("#film"); // of what it has learned until now
  await page.waitForFunction(() => document.getElementById("film-progress").value > 0);
  await page.click("#film");
  await page.waitForFunction(() => !vidgan.view.making);
  report.stopped = [await page.textContent("#toast"), await page.evaluate(() => vidgan.view.training)];
  report.overflow = [];
  await overflows();
  await page.setInputFiles("#files", { name: "one.png", mimeType: "image/png", buffer: readFileSync(join(folder, "one.png")) });
  await page.waitForFunction(() => document.getElementById("toast").textContent.includes("too few"));
  report.refusal = await page.textContent("#toast");
}

async function large() {
  await page.goto(url);
  await page.waitForFunction(() => vidgan.view.pictures);
  await page.setInputFiles("#files", Array.from({ length: 8 }, (_, i) => join(folder, `${i}.png`)));
  await page.waitForFunction(() => vidgan.view.pictures.count === 8);
  report.small = await pictures();
  await page.selectOption("#side", "64");
  report.pictures = await pictures();
  await learned(64);
  await taken();
}

/** The first pictures that it learns from. */
const pictures = () => page.evaluate(() => {
  const { bytes, colours, side } = vidgan.view.pictures;
  return { colours, side, bytes: btoa(String.fromCharCode(...bytes.subarray(0, 12_288))) };
});

/** Learn from so many pictures, and pause. */
async function learned(images) {
  await page.click("#train");
  await page.waitForFunction((images) => vidgan.view.images >= images, images);
  await page.click("#train");
  report.status = await page.textContent("#status");
  report.losses = await page.evaluate(() => [vidgan.view.lossD, vidgan.view.lossG]);
}

/** Frames of what was learned, and its two files. */
async function taken() {
  report.frames = await page.evaluate(async () => {
    const latents = [0, 1, 2].map((n) => Float32Array.from({ length: 100 }, (_, d) => Math.sin(d * (n + 1) + n)));
    const { pixels } = await vidgan.ask("frames", { latents });
    return btoa(String.fromCharCode(...pixels));
  });
  await saved("#save", "generator.safetensors");
  await saved("#save-onnx", "generator.onnx");
}

async function saved(button, name) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click(button)]);
  await download.saveAs(join(folder, name));
}

async function overflows() {
  for (const width of [320, 390, 820, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) report.overflow.push(width);
  }
}

/** The game in the plane. */
async function played() {
  const after = (steps) => page.waitForFunction((steps) => Number(document.documentElement.dataset.steps) >= steps, steps);
  const anew = () => page.waitForFunction(() => document.getElementById("plane-clock").value === "0 steps");
  const heaps = () => page.textContent("#heaps");
  await page.goto(url);
  await page.click("#to-plane");
  await after(0);
  await page.click("#plane-penalty");
  await page.click("#plane-train");
  await after(5); // a gradient of a gradient
  await page.click("#plane-penalty");
  await page.click("#provoke");
  await anew();
  await after(200);
  report.collapsed = await heaps();
  await page.click("#cure");
  await after(700);
  report.cured = await heaps();
  await page.click("#plane-train"); // pause
  await page.selectOption("#plane-data", "spiral");
  await anew();
  report.spiral = await heaps();
  report.overflow = [];
  await overflows();
}

/** For tests/benchmarks/lab.py: samples, each with the seconds since the press of Train. */
async function watched() {
  await page.goto(url);
  await page.evaluate(() => {
    globalThis.encoded = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  });
  await page.waitForFunction(() => vidgan.view.pictures);
  if (own) {
    await page.setInputFiles("#files", readdirSync(own).map((name) => join(own, name)));
    await page.waitForFunction(() => vidgan.view.pictures.kind === "own");
  }
  await page.selectOption("#side", side);
  report.colours = await page.evaluate(() => vidgan.view.pictures.colours);
  report.reals = await page.evaluate(() => {
    const { bytes, colours, side } = vidgan.view.pictures;
    return encoded(bytes.subarray(0, 200 * side * side * colours));
  });
  const [since, before] = [performance.now(), cpuSeconds()];
  await page.click("#train");
  report.samples = [];
  for (let images = 0; images < most; ) {
    const next = images ? images + 100 : 1;
    await page.waitForFunction((next) => vidgan.view.past.at(-1)?.images >= next, next, { polling: 100 });
    const one = await page.evaluate(() => ({ images: vidgan.view.past.at(-1).images, pixels: encoded(vidgan.view.past.at(-1).pixels) }));
    report.samples.push({ ...one, seconds: (performance.now() - since) / 1000, cpu_s: cpuSeconds() - before });
    images = one.images;
  }
  [report.device, report.images_per_s] = await page.evaluate(() => [vidgan.view.device, vidgan.view.images / vidgan.view.seconds]);
  await page.screenshot({ path: join(folder, "lab.png") });
}

/** CPU time of all processes of the browser (Linux). */
function cpuSeconds() {
  const stats = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      const rest = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
      return { pid: Number(pid), parent: rest[1], ticks: rest[11] + rest[12] + rest[13] + rest[14] };
    } catch {
      return {}; // it has just ended
    }
  });
  const ofBrowser = new Set([process.pid]);
  for (let size = 0; size < ofBrowser.size; ) {
    size = ofBrowser.size;
    for (const { pid, parent } of stats) if (ofBrowser.has(parent)) ofBrowser.add(pid);
  }
  ofBrowser.delete(process.pid);
  return stats.reduce((sum, { pid, ticks }) => sum + (ofBrowser.has(pid) ? ticks : 0), 0) / 100; // a tick is 10 ms
}

async function losses() {
  const { outputFiles } = await web("esbuild").build({
    entryPoints: [fileURLToPath(new URL("lab_losses.mjs", import.meta.url))], bundle: true, write: false, format: "iife",
    nodePaths: [fileURLToPath(new URL("../../export/web/node_modules", import.meta.url))],
  });
  await page.goto("about:blank");
  await page.addScriptTag({ content: outputFiles[0].text });
  report.found = await page.evaluate((given) => losses(given), JSON.parse(readFileSync(0, "utf8")));
}

await { trained, large, played, losses, watched }[what]();
console.log(JSON.stringify(report));
await browser.close();
