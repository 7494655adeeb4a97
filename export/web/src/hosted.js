// The form for a web server, in separate files. It runs on WebGPU if that makes the right frames. Else
// it runs on several threads if the server sends the headers they need, as `vidgan serve` does. Else
// it runs on one thread.

import { Generator } from "./generator.js";
import { boot } from "./main.js";

const here = new URL("./", import.meta.url);
const MOST_THREADS = 4;
const WASM = { wasm: "ort-wasm-simd-threaded.wasm", webgpu: "ort-wasm-simd-threaded.asyncify.wasm" };
const SMOOTH_MS = 12; // WebGPU that makes a frame in this time need not be compared

async function fetched(name) {
  const response = await fetch(new URL(name, here));
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response;
}

const json = async (name) => (await fetched(name)).json();
const bytes = async (name) => new Uint8Array(await (await fetched(name)).arrayBuffer());

/** ONNX Runtime. Its code and its WebAssembly are fetched at once. */
async function runtime(kind) {
  const [ort, wasm] = await Promise.all([import(new URL(`ort.${kind}.bundle.min.mjs`, here)), bytes(WASM[kind])]);
  ort.env.logLevel = "error";
  ort.env.wasm.wasmBinary = wasm.buffer;
  ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
  return ort;
}

let wasmOpened;
const onWasm = () => (wasmOpened ??= runtime("wasm"));

/** The generator, if WebGPU makes the right frames with it, and its time for one. */
async function onGpu(opened, model, info) {
  try {
    const ort = await opened;
    const generator = await Generator.open(ort, model, info, "webgpu", "WebGPU");
    const worst = await generator.worstLevel(info.self_test);
    return worst <= Math.max(2, info.self_test.max_level) ? { generator, ms: await generator.msPerFrame() } : null;
  } catch (error) {
    console.warn("WebGPU does not run this generator", error);
    return null;
  }
}

async function onCpu(opened, model, info) {
  const ort = await opened;
  const threads = ort.env.wasm.numThreads;
  return Generator.open(ort, model, info, "wasm", `${threads} ${threads === 1 ? "thread" : "threads"} of WebAssembly`);
}

boot(async () => {
  const files = Promise.all([bytes("model.onnx"), json("model.json")]); // while the rest is asked for, too
  return {
    generator: await fastest(files),
    extra: (name) => bytes(`${name}.bin`),
    runtime: onWasm, // for what need not be fast
  };
});

async function fastest(files) {
  const hasGpu = await navigator.gpu?.requestAdapter().catch(() => null);
  const opened = hasGpu ? runtime("webgpu") : onWasm();
  opened.catch(() => {}); // it is looked at when the model is there
  const given = await files;
  const gpu = hasGpu ? await onGpu(opened, ...given) : null;
  if (gpu?.ms < SMOOTH_MS) return gpu.generator;
  const cpu = await onCpu(onWasm(), ...given);
  if (!gpu) return cpu;
  const faster = (await cpu.msPerFrame()) < gpu.ms ? cpu : gpu.generator; // WebGPU may run in software
  await (faster === cpu ? gpu.generator : cpu).close();
  return faster;
}
