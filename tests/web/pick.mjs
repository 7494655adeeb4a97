// Chooses pictures on the page of vidgan pick in real Chromium, as a person would, and prints what
// happened as JSON.
//
//     node pick.mjs URL WIDTH light|dark SCREENSHOT NAME [CLASS]
//
// It marks 17, then 3 (of a class, if one is given), which it keeps by the name, then one of the second sheet.

import { launched } from "./chromium.mjs";

const [url, width, colorScheme, screenshot, name, label] = process.argv.slice(2);
const { browser, page, faults } = await launched("", { viewport: { width: Number(width), height: 800 }, colorScheme });
const report = { faults, commands: [] };

const tile = (word) => page.locator(`#numbered .tile[title="${word}"]`);
const command = async () => report.commands.push((await page.isVisible("#film")) ? await page.textContent("#command") : null);
const pixels = (locator) => locator.locator("canvas").evaluate((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return btoa(String.fromCharCode(...data));
});
const named = (entry, text) => page.locator("#marked form").nth(entry).locator("input").fill(text).then(() => page.keyboard.press("Enter"));

process.on("exit", () => report.faults.length && console.error(report.faults));
await page.goto(url);
await tile(31).waitFor();
report.kept_before = await page.locator("#kept .tile").allTextContents();
await tile(17).click();
await command();
report.pixels = await pixels(tile(17));
if (label) {
  await page.selectOption("#class", { label });
  await page.waitForFunction(() => document.querySelectorAll("#numbered .tile").length === 32);
}
await tile(3).click();
await command();
await named(1, "17");
await page.waitForFunction(() => document.getElementById("said").textContent);
report.refusal = await page.textContent("#said");
await named(1, name);
await page.locator("#marked form").nth(1).locator("input").waitFor({ state: "detached" });
await command();
await page.click("#more");
await tile(63).waitFor();
await tile(40).click();
await command();
report.marks = await page.locator(".tile[aria-pressed=true]").allTextContents();
await page.screenshot({ path: screenshot });
report.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
await page.click('#marked button[title="unmark 17"]');
report.marks_left = await page.locator("#marked form").count();
await command();
await page.reload();
await page.locator("#kept .tile").first().waitFor();
report.kept_after = await page.locator("#kept .tile").allTextContents();
report.injected = await page.evaluate(() => document.querySelectorAll("main, b, img").length);
await browser.close();
console.log(JSON.stringify(report));
