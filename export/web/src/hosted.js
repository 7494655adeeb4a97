// The form for a web server, in separate files. It runs on WebGPU if that makes the right frames. Else
// it runs on several threads if the server sends the headers they need, as `vidgan serve` does. Else
// it runs on one thread.

import { Generator } from "./generator.js";
import { boot } from "./main.js";

const here = new URL("./", import.meta.url);
const MOST_THREADS = 4;
const SMOOTH_MS = 12; // WebGPU that makes a frame in this time need not be compared

async function fetched(name) {
  const response = await fetch(new URL(name, here));
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response;
}

async function runtime(kind, wasm) {
  const ort = await import(new URL(`ort.${kind}.bundle.min.mjs`, here));
  ort.env.logLevel = "error";
  ort.env.wasm.wasmPaths = { wasm: new URL(wasm, here).href };
  ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
  return ort;
}

/** The generator, if WebGPU makes the right frames with it, and its time for one. */
async function onGpu(model, info) {
  if (!(await navigator.gpu?.requestAdapter().catch(() => null))) return null;
  try {
    const ort = await runtime("webgpu", "ort-wasm-simd-threaded.asyncify.wasm");
    const generator = await Generator.open(ort, model, info, "webgpu", "WebGPU");
    const worst = await generator.worstLevel(info.self_test);
    return worst <= Math.max(2, info.self_test.max_level) ? { generator, ms: await generator.msPerFrame() } : null;
  } catch (error) {
    console.warn("WebGPU does not run this generator", error);
    return null;
  }
}

async function onCpu(model, info) {
  const ort = await runtime("wasm", "ort-wasm-simd-threaded.wasm");
  const threads = ort.env.wasm.numThreads;
  return Generator.open(ort, model, info, "wasm", `${threads} ${threads === 1 ? "thread" : "threads"} of WebAssembly`);
}

boot(async () => {
  const info = await fetched("model.json").then((response) => response.json());
  const model = await fetched("model.onnx").then((response) => response.arrayBuffer());
  return {
    generator: await fastest(new Uint8Array(model), info),
    extra: async (name) => new Uint8Array(await (await fetched(`${name}.bin`)).arrayBuffer()),
    runtime: () => runtime("wasm", "ort-wasm-simd-threaded.wasm"), // for what need not be fast
  };
});

async function fastest(bytes, info) {
  const gpu = await onGpu(bytes, info);
  if (gpu?.ms < SMOOTH_MS) return gpu.generator;
  const cpu = await onCpu(bytes, info);
  if (!gpu) return cpu;
  const faster = (await cpu.msPerFrame()) < gpu.ms ? cpu : gpu.generator; // WebGPU may run in software
  await (faster === cpu ? gpu.generator : cpu).close();
  return faster;
}
