// Trains beside the page, so that the page stays alive. The page says what to do; this says what came.

import { defaultDevice, init } from "@jax-js/jax";
import { gaussian } from "../src/latents.js";
import { modelFile } from "./model_file.js";
import { onnxFile } from "./onnx_file.js";
import { Plane } from "./plane.js";
import { Z_DIM } from "./sizes.js";
import { Trainer } from "./trainer.js";

const SAMPLES = 64;
const FAST_MS = 50; // a step that takes less needs no comparison
const TRIAL_STEPS = 3;
const samplesAfter = (seconds) => (seconds < 30 ? 1.5 : 4); // seconds between samples; but they may cost
const SAMPLES_SHARE = 1 / 20; // of the time, at most
const HEARD_EVERY_MS = 25;
const SEEN_EVERY_MS = 60; // of the plane
const SEEN_SHARE = 1 / 8; // of the time, at most

const latents = Array.from({ length: SAMPLES }, (_, seed) => gaussian(seed, 0, Z_DIM));
let trainer = null;
let generator = null; // of the weights of now
let running = false;
let [spent, sampledAt, cost] = [0, -Infinity, 0]; // seconds of training, and of a grid of samples
let plane = null;
let planeRuns = false;
const repeated = new Set(); // what is being repeated

const acts = {
  async begin({ pictures, settings }) {
    forget();
    trainer?.dispose();
    trainer = await opened(pictures, settings);
    [spent, sampledAt, cost] = [0, -Infinity, 0];
    return { device: defaultDevice() };
  },
  async run({ on }) {
    running = on;
    if (on) train();
  },
  async set({ settings }) {
    trainer.set(settings);
  },
  async frames({ latents }) {
    generator ??= await trainer.finished();
    return { pixels: await generator.frames(latents) };
  },
  async file({ kind, facts, version }) {
    generator ??= await trainer.finished();
    const make = { safetensors: modelFile, onnx: onnxFile }[kind];
    return { content: await make(generator, { ...facts, images_seen: trainer.images }, version) };
  },
  async plane({ settings }) {
    await init("wasm");
    plane?.dispose();
    plane = new Plane(settings);
    return plane.see();
  },
  async planeSet({ settings }) {
    plane.set(settings);
  },
  async planeRun({ on }) {
    planeRuns = on;
    if (on) game();
  },
};

/** A trainer on WebGPU or in WebAssembly: where a step takes less time, and gives numbers. */
async function opened(pictures, settings) {
  const gpu = await navigator.gpu?.requestAdapter().catch(() => null);
  const inSoftware = gpu?.info?.isFallbackAdapter ?? gpu?.isFallbackAdapter;
  const found = gpu && !inSoftware ? await init("wasm", "webgpu").catch(() => init("wasm")) : await init("wasm");
  const timed = [];
  for (const device of found.includes("webgpu") ? ["webgpu", "wasm"] : ["wasm"]) {
    defaultDevice(device);
    try {
      const one = await Trainer.begin(pictures, settings);
      if (device === "wasm" && !timed.length) return one;
      await one.step(); // compiles
      const since = performance.now();
      let sound = true;
      for (let n = 0; n < TRIAL_STEPS; n++) sound &&= (await one.step()).every(Number.isFinite);
      const ms = sound ? (performance.now() - since) / TRIAL_STEPS : Infinity;
      timed.push({ device, one, ms });
      if (ms < FAST_MS) break;
    } catch (error) {
      if (device === "wasm") throw error; // WebGPU may fail for many reasons
    }
  }
  timed.sort((a, b) => a.ms - b.ms);
  for (const { one } of timed.slice(1)) one.dispose();
  defaultDevice(timed[0].device);
  return timed[0].one;
}

function forget() {
  generator?.dispose();
  generator = null;
}

/** Steps, until one says that it was the last. Now and then, between two, the page is heard. What is
 * repeated already goes on. */
async function repeat(name, step) {
  if (repeated.has(name)) return;
  repeated.add(name);
  const turn = new MessageChannel();
  let heard = -Infinity;
  try {
    do {
      if (performance.now() - heard < HEARD_EVERY_MS) continue;
      await new Promise((go) => {
        turn.port1.onmessage = go;
        turn.port2.postMessage(0);
      });
      heard = performance.now();
    } while (await step());
  } catch (error) {
    postMessage({ event: "failed", message: String(error.message ?? error) });
  }
  turn.port1.close();
  repeated.delete(name);
}

function train() {
  let since = performance.now();
  return repeat("pictures", async () => {
    if (!running) return false;
    forget();
    const [lossD, lossG, onReals, onFakes] = await trainer.step();
    const now = performance.now();
    spent += (now - since) / 1000;
    since = now;
    const said = { images: trainer.images, seconds: spent, lossD, lossG, onReals, onFakes };
    if (![lossD, lossG].every(Number.isFinite)) {
      running = false;
      postMessage({ event: "diverged", ...said });
    } else {
      if (spent - sampledAt >= Math.max(samplesAfter(spent), cost / SAMPLES_SHARE)) {
        sampledAt = spent;
        said.samples = await trainer.samples(latents);
        cost = (performance.now() - now) / 1000;
      }
      postMessage({ event: "step", ...said });
    }
    return running;
  });
}

function game() {
  let next = 0;
  return repeat("plane", async () => {
    if (!planeRuns) return false;
    await plane.step();
    const since = performance.now();
    if (since > next) {
      postMessage({ event: "plane", steps: plane.steps, ...(await plane.see()) });
      const now = performance.now();
      next = now + Math.max(SEEN_EVERY_MS, (now - since) / SEEN_SHARE);
    }
    return true;
  });
}

// One act after the other, in the order in which they were asked for.
let queue = Promise.resolve();
onmessage = ({ data: { id, act, ...given } }) => {
  queue = queue.then(() => acts[act](given)).then(
    (answer) => postMessage({ id, ...answer }),
    (error) => postMessage({ id, error: String(error.message ?? error) }),
  );
};
