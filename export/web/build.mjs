// Build the page from src/ and the packages in the lock file:
//
//     npm ci && npm run build     writes built/, which is committed, so that users need no Node
//     npm run check               builds again and fails if built/ differs
//
// built/page.html is the single-file form without a generator; vidgan/generator/web_page.py inserts
// one. built/site/ is the form for a web server. Both need ONNX Runtime's WebAssembly, so built/
// holds it once, compressed as .xz.

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

async function bundled(entry) {
  const { outputFiles } = await build({
    entryPoints: [join(root, "src", entry)],
    bundle: true, minify: true, write: false, format: "esm", target: "es2022", charset: "utf8", legalComments: "inline",
    logOverride: { "empty-import-meta": "silent" },
  });
  return outputFiles[0].text.trim();
}

async function style() {
  const { outputFiles } = await build({ entryPoints: [join(root, "src/style.css")], minify: true, write: false, target: "chrome123" });
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
    SCRIPT: [data("info", "application/json"), data("wasm", "text/plain"), data("model", "text/plain"), `<script type="module">${script}</script>`].join("\n"),
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

/** Every file of built/ as name -> content. The WebAssembly is not yet compressed. */
async function everything() {
  const licences = source("licences.txt");
  const css = await style();
  const files = new Map([
    ["page.html", await page(licences, css)],
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
