// Chromium for the tests of pages.

import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(new URL("../../export/web/", import.meta.url))("playwright-core");
const quiet = ["--headless", "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"];

/** A browser, its page, and lists that it adds to: `faults` of the page, and addresses `fetched`. */
export async function launched(folder, options, flags = ["--disable-gpu"]) {
  const browser = await chromium.launchPersistentContext(folder && join(folder, `profile-${process.pid}`), {
    executablePath: "/usr/bin/chromium", args: [...quiet, ...flags], ...options,
  });
  const page = browser.pages()[0], faults = [], fetched = [];
  page.setDefaultTimeout(90_000); // a busy machine may need some of it
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (line) => line.type() === "error" && faults.push(line.text()));
  page.on("request", (request) => request.url().startsWith("data:") || fetched.push(request.url()));
  return { browser, page, faults, fetched };
}
