// Uses the lab in real Chromium, and prints what happened as JSON.
//
//     node lab.mjs trained lab.html FOLDER    trains, looks, plays, downloads generator.safetensors
//     node lab.mjs played lab.html FOLDER     plays in the plane
//     node lab.mjs losses "" FOLDER           losses of a batch, whose numbers come on stdin

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { launched } from "./chromium.mjs";

const web = createRequire(new URL("../../export/web/", import.meta.url));
const [what, url, folder] = process.argv.slice(2);
const { browser, page, faults: errors, fetched: requests } = await launched(folder, { viewport: { width: 1180, height: 800 } });
page.setDefaultTimeout(220_000);
const report = { errors, requests };

async function trained() {
  await page.goto(url);
  await page.waitForFunction(() => vidgan.view.pictures);
  report.count = await page.textContent("#count");
  await page.click("#train");
  await page.waitForFunction(() => vidgan.view.images >= 64);
  await page.click("#train"); // pause
  report.status = await page.textContent("#status");
  report.losses = await page.evaluate(() => [vidgan.view.lossD, vidgan.view.lossG]);
  report.samples = await page.evaluate(() => new Set(vidgan.view.past.at(-1).pixels).size);
  report.frames = await page.evaluate(async () => {
    const latents = [0, 1, 2].map((n) => Float32Array.from({ length: 100 }, (_, d) => Math.sin(d * (n + 1) + n)));
    const { pixels } = await vidgan.ask("frames", { latents });
    return btoa(String.fromCharCode(...pixels));
  });
  report.rests = await page.evaluate(async () => {
    const before = vidgan.view.images;
    await vidgan.ask("frames", { latents: [new Float32Array(100).fill(1)] });
    return vidgan.view.images === before;
  });
  await page.click("#walk");
  await page.waitForFunction(() => document.documentElement.dataset.frames >= 2);
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  await download.saveAs(join(folder, "generator.safetensors"));
  await page.click("#walk"); // stop
  report.overflow = [];
  await overflows();
  await page.setInputFiles("#files", { name: "one.png", mimeType: "image/png", buffer: readFileSync(join(folder, "one.png")) });
  await page.waitForFunction(() => document.getElementById("toast").textContent.includes("too few"));
  report.refusal = await page.textContent("#toast");
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

async function losses() {
  const { outputFiles } = await web("esbuild").build({
    entryPoints: [fileURLToPath(new URL("lab_losses.mjs", import.meta.url))], bundle: true, write: false, format: "iife",
    nodePaths: [fileURLToPath(new URL("../../export/web/node_modules", import.meta.url))],
  });
  await page.goto("about:blank");
  await page.addScriptTag({ content: outputFiles[0].text });
  report.found = await page.evaluate((given) => losses(given), JSON.parse(readFileSync(0, "utf8")));
}

await { trained, played, losses }[what]();
console.log(JSON.stringify(report));
await browser.close();
