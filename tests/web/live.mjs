// Watches and steers a run on its live page in real Chromium, as a person would, and prints what happened as JSON.
//
//     node live.mjs URL WIDTH light|dark SCREENSHOT [steer]
//
// With `steer` it pauses, makes one step, turns a knob by the keyboard, branches, looks at the past, goes on and stops.

import { launched } from "./chromium.mjs";

const [url, width, colorScheme, screenshot, steer] = process.argv.slice(2);
const { browser, page, faults, fetched } = await launched("", { viewport: { width: Number(width), height: 900 }, colorScheme });
const report = { faults };
page.on("dialog", (dialog) => dialog.accept());
process.on("exit", () => faults.length && console.error(faults));

const until = (what, argument) => page.waitForFunction(what, argument, { timeout: 120_000 });
const badge = (text) => until((text) => document.querySelector("#state b").textContent === text, text);
const images = () => page.evaluate(() => Number(document.getElementById("numbers").textContent.split(" ")[0].replaceAll(",", "")));
const press = async (id) => {
  await page.locator(`#${id}`).focus();
  await page.keyboard.press("Enter");
};

await page.goto(url);
await until(() => document.getElementById("fake").naturalWidth > 0 && document.querySelector("#sure path"));
if (steer) {
  await badge("training");
  await until(() => document.querySelector(".strip")?.style.backgroundImage && Number(document.getElementById("when").max) > 0);
  await press("pause");
  await badge("paused");
  report.paused_at = await images();
  await press("step");
  await until((before) => Number(document.getElementById("numbers").textContent.split(" ")[0].replaceAll(",", "")) > before, report.paused_at);
  report.stepped_to = await images();
  await page.locator("#rate-g").focus();
  for (let i = 0; i < 4; i++) await page.keyboard.press("ArrowLeft");
  await until(() => document.getElementById("events").textContent.includes("learning rate of G"));
  await press("branch");
  await until(() => document.getElementById("events").textContent.includes("Branch made"));
  const last = await page.evaluate(() => document.getElementById("seen").textContent);
  await page.locator("#when").focus();
  await page.keyboard.press("Home");
  await until((last) => document.getElementById("seen").textContent !== last, last);
  report.first = await page.evaluate(() => document.getElementById("seen").textContent);
}
report.text = await page.evaluate(() => document.body.innerText);
report.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
report.lines = await page.evaluate(() => Object.fromEntries([...document.querySelectorAll("section[id]")].map((section) => [section.id, section.querySelectorAll("svg path").length])));
report.small = await page.evaluate(() => [...document.querySelectorAll("button, input")].filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 24).map((e) => e.id));
report.unnamed = await page.evaluate(() => [...document.querySelectorAll("button, input, img, [role=img]")].filter((e) => !(e.textContent.trim() || e.ariaLabel || e.alt || e.labels?.length || e.getAttribute("aria-label"))).map((e) => e.outerHTML));
report.ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const shot = () => page.screenshot({ path: screenshot, fullPage: true });
await shot().catch(shot);
if (steer) {
  await press("pause");
  await badge("training");
  await press("stop");
  await until(() => ["stopping", "ended", "away"].includes(document.querySelector("#state b").textContent));
}
await browser.close();
report.fetched = fetched.filter((address) => new URL(address).origin !== new URL(url).origin);
console.log(JSON.stringify(report));
