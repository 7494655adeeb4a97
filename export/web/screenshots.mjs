// Take the screenshots of the page in ../../assets. The page comes from `vidgan export --html`:
//
//     node screenshots.mjs player.html FOLDER     page-{desktop,phone}-{dark,light}.png, page-drag.png, page-nine.png

import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [file, folder] = process.argv.slice(2);
const flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"];
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", headless: true, args: flags });
const url = pathToFileURL(resolve(file)).href + "#seed=40&keyframes=6";
const shapes = { desktop: { width: 1180, height: 800 }, phone: { width: 390, height: 844 } };

async function shot(shape, colorScheme, name, prepare = async () => {}) {
  const page = await browser.newPage({ viewport: shapes[shape], colorScheme, reducedMotion: "reduce" });
  await page.goto(url);
  await page.waitForFunction(() => document.documentElement.dataset.frames >= 1);
  await page.locator("#seek").fill("0.35");
  await page.evaluate(() => document.getElementById("hint").classList.add("gone"));
  await page.locator("#seek").blur();
  await prepare(page);
  await page.waitForTimeout(500);
  await page.screenshot({ path: join(folder, `${name}.png`) });
  await page.close();
}

for (const shape of ["desktop", "phone"]) {
  for (const scheme of ["dark", "light"]) await shot(shape, scheme, `page-${shape}-${scheme}`);
}
await shot("desktop", "dark", "page-drag", async (page) => {
  const box = await page.locator("#picture").boundingBox();
  await page.mouse.move(box.x + 200, box.y + 200);
  await page.mouse.down();
  await page.mouse.move(box.x + 330, box.y + 260, { steps: 3 });
});
await shot("desktop", "light", "page-nine", (page) => page.click("#nine"));
await browser.close();
