// Opens report.html in Chromium and prints what a person would see, as JSON:
//
//     node report.mjs report.html WIDTH light|dark SCREENSHOT

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { launched } from "./chromium.mjs";

const [file, width, colorScheme, screenshot] = process.argv.slice(2);
const { browser, page, faults, fetched } = await launched("", { viewport: { width: Number(width), height: 800 }, colorScheme });
await page.goto(pathToFileURL(resolve(file)).href);
const look = () => page.evaluate(() => ({ picture: document.getElementById("fake").src, at: document.getElementById("seen").textContent }));
const last = await look();
await page.locator("#when").fill("0");
const first = await look();
const report = await page.evaluate(() => ({
  lines: [...document.querySelectorAll("section[id]")].map((section) => [section.id, section.querySelectorAll("svg path").length]),
  dots: Object.fromEntries([...document.querySelectorAll("section[id]")].map((section) => [section.id, section.querySelectorAll("svg circle").length])),
  loaded: [...document.images].every((image) => image.complete && image.naturalWidth > 0),
  overflow: document.documentElement.scrollWidth - innerWidth,
  ground: getComputedStyle(document.body).backgroundColor,
  summary: document.getElementById("summary").textContent,
  text: document.body.innerText,
}));
// On a busy machine, Chromium's first picture of a tall page sometimes fails ("Unable to capture screenshot").
const shot = () => page.screenshot({ path: screenshot, fullPage: true });
await shot().catch(shot);
await browser.close();
console.log(JSON.stringify({ ...report, lines: Object.fromEntries(report.lines), first, last, faults, fetched: fetched.slice(1) }));
