// The single-file form, for file:// too. The page holds all its data, compressed, and fetches nothing.

import * as ort from "onnxruntime-web/wasm";
import { Generator } from "./generator.js";
import { boot } from "./main.js";

// The base64 of gzip in <script> blocks, which leaves the page: it has up to 13 MB.
const texts = Object.fromEntries(Array.from(document.querySelectorAll("script[type='text/plain']"), (block) => {
  const text = block.textContent;
  block.textContent = "";
  return [block.id, text];
}));

// The page as it came, in two halves around the place of a walk. Blobs lie outside of the page's memory.
const halves = (() => {
  const html = `<!doctype html>\n${document.documentElement.outerHTML}`;
  const after = (start) => html.indexOf(start) + start.length;
  const walk = after('<meta name="walk" content="');
  let at = html.indexOf('"', walk);
  const rest = [];
  for (const [id, text] of Object.entries(texts)) { // in the order in which they stand
    const from = at;
    at = after(`<script id="${id}" type="text/plain">`);
    rest.push(html.slice(from, at), text);
  }
  return [new Blob([html.slice(0, walk)]), new Blob([...rest, html.slice(at)])];
})();
const extras = { ...texts }; // each until it is asked for, as bytes

/** This page with another walk in it, given as in an address. */
const pageWith = (walk) => new Blob([halves[0], walk.replaceAll("&", "&amp;"), halves[1]], { type: "text/html" });

async function unpacked(text) {
  const packed = Uint8Array.fromBase64?.(text) ?? Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(plain).arrayBuffer();
}

/** The file comes as all even bytes, then all odd ones: float16 weights compress better that way. */
function woven(halves) {
  const source = new Uint8Array(halves);
  const bytes = new Uint8Array(source.length);
  const half = (source.length + 1) >> 1;
  for (let i = 0; i < half; i++) bytes[2 * i] = source[i];
  for (let i = half; i < source.length; i++) bytes[2 * (i - half) + 1] = source[i];
  return bytes;
}

boot(async () => {
  const info = JSON.parse(document.getElementById("info").textContent);
  const [model, wasm] = await Promise.all([unpacked(texts.model).then(woven), unpacked(texts.wasm)]);
  texts.model = texts.wasm = extras.model = extras.wasm = ""; // they lie in the halves
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1; // threads need HTTP headers, and a local file has none
  return {
    generator: await Generator.open(ort, model, info, "wasm", "One thread of WebAssembly"),
    extra: async (name) => woven(await unpacked(extras[name])),
    runtime: () => ort,
  };
}, pageWith);
