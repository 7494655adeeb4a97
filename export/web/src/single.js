// The single-file form, for file:// too. The page holds all its data, compressed, and fetches nothing.

import * as ort from "onnxruntime-web/wasm";
import { Generator } from "./generator.js";
import { boot } from "./main.js";

// The page as it came, in two halves around the place of a walk. Blobs lie outside of the page's memory.
const halves = (() => {
  const html = `<!doctype html>\n${document.documentElement.outerHTML}`;
  const place = '<meta name="walk" content="';
  const at = html.indexOf(place) + place.length;
  return [html.slice(0, at), html.slice(html.indexOf('"', at))].map((half) => new Blob([half]));
})();

/** This page with another walk in it, given as in an address. */
const pageWith = (walk) => new Blob([halves[0], walk.replaceAll("&", "&amp;"), halves[1]], { type: "text/html" });

/** The bytes in a <script> block, which holds base64 of gzip. */
async function unpacked(id) {
  const text = document.getElementById(id).textContent;
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
  const [model, wasm] = await Promise.all([unpacked("model").then(woven), unpacked("wasm")]);
  for (const id of ["model", "wasm"]) document.getElementById(id).remove(); // 13 MB of text
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1; // threads need HTTP headers, and a local file has none
  return Generator.open(ort, model, info, "wasm", "One thread of WebAssembly");
}, pageWith);
