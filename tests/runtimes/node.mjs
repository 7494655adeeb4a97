// Runs onnxruntime-node, or onnxruntime-web as WebAssembly in Node or Chromium, or as WebGPU:
//
//     node node.mjs node|wasm|chromium|webgpu FOLDER SECONDS CASE...

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { proved } from "./golden.mjs";

const [how, folder, seconds, ...cases] = process.argv.slice(2);
const root = join(import.meta.dirname, "../..");
const golden = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8"));
const dist = join(root, "export/web/node_modules/onnxruntime-web/dist");
const versionOf = (at) => JSON.parse(readFileSync(join(root, at, "package.json"), "utf8")).version;
const webVersion = () => versionOf("export/web/node_modules/onnxruntime-web");

async function inNode() {
  const ort = createRequire(join(root, "export/node/"))("onnxruntime-node");
  const version = versionOf("export/node/node_modules/onnxruntime-node");
  return proved(ort, version, golden, seconds, cases, (name) => ort.InferenceSession.create(join(folder, `${name}.onnx`)));
}

async function wasm() {
  const ort = await import(pathToFileURL(join(dist, "ort.wasm.min.mjs")));
  ort.env.wasm.numThreads = 1;
  return proved(ort, webVersion(), golden, seconds, cases, (name) => ort.InferenceSession.create(readFileSync(join(folder, `${name}.onnx`))));
}

/** Run in a page of an invented host, whose files come from `dist`, `folder` or this folder. */
async function chromium(provider) {
  const { chromium: browsers } = createRequire(join(root, "export/web/"))("playwright-core");
  const args = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"];
  // A GPU simulated in software: exact, but slow.
  const software = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan", "--use-vulkan=swiftshader", "--ignore-gpu-blocklist"];
  args.push(...(provider === "webgpu" ? software : ["--disable-gpu"]));
  const browser = await browsers.launch({ executablePath: "/usr/bin/chromium", headless: true, args });
  try {
    const page = await browser.newPage();
    const headers = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
    await page.route("**/*", (route) => {
      const name = new URL(route.request().url()).pathname.slice(1);
      if (!name) return route.fulfill({ body: "<!doctype html>", contentType: "text/html", headers });
      const from = name.startsWith("ort") ? dist : name.endsWith(".onnx") ? folder : import.meta.dirname;
      return route.fulfill({ path: join(from, name), headers });
    });
    await page.goto("https://localhost/");
    return await page.evaluate(inPage, [provider, webVersion(), golden, seconds, cases]);
  } finally {
    await browser.close();
  }
}

/** Runs in the page, where no variable of this file exists. */
async function inPage([provider, version, golden, seconds, cases]) {
  const ort = await import(`/ort.${provider}.min.mjs`);
  const { proved } = await import("/golden.mjs");
  ort.env.wasm.numThreads = 1;
  if (provider === "webgpu" && !(await navigator.gpu?.requestAdapter())) throw new Error("no WebGPU adapter");
  return proved(ort, version, golden, seconds, cases, (name) => ort.InferenceSession.create(`/${name}.onnx`, { executionProviders: [provider] }));
}

const ways = { node: inNode, wasm, chromium: () => chromium("wasm"), webgpu: () => chromium("webgpu") };
console.log(JSON.stringify(await ways[how]()));
