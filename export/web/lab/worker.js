// Trains beside the page, so that the page stays alive. The page says what to do; this says what came.

import { defaultDevice, init } from "@jax-js/jax";
import { gaussian } from "../src/latents.js";
import { modelFile } from "./model_file.js";
import { Z_DIM } from "./sizes.js";
import { Trainer } from "./trainer.js";

const SAMPLES = 64;
const FAST_MS = 50; // a step that takes less needs no comparison
const TRIAL_STEPS = 3;
const samplesAfter = (seconds) => (seconds < 30 ? 1.5 : 4); // seconds between samples

const latents = Array.from({ length: SAMPLES }, (_, seed) => gaussian(seed, 0, Z_DIM));
let trainer = null;
let generator = null; // of the weights of now
let running = false;
let [spent, sampledAt] = [0, -Infinity]; // seconds of training

const acts = {
  async begin({ pictures, settings }) {
    forget();
    trainer?.dispose();
    trainer = await opened(pictures, settings);
    [spent, sampledAt] = [0, -Infinity];
    return { device: defaultDevice() };
  },
  async run({ on }) {
    if (on && !running) train();
    running = on;
  },
  async set({ settings }) {
    trainer.set(settings);
  },
  async frames({ latents }) {
    generator ??= await trainer.finished();
    return { pixels: await generator.frames(latents) };
  },
  async file({ facts, version }) {
    generator ??= await trainer.finished();
    return { content: await modelFile(generator, { ...facts, images_seen: trainer.images }, version) };
  },
  /** For tests: numbers of the network itself. */
  async memory() {
    return { bytes: performance.memory?.usedJSHeapSize ?? 0 };
  },
};

/** A trainer on WebGPU or in WebAssembly: where a step takes less time, and gives numbers. */
async function opened(pictures, settings) {
  const found = await init("wasm", "webgpu").catch(() => init("wasm"));
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

async function train() {
  let since = performance.now();
  const turn = new MessageChannel();
  while (trainer) {
    // Between two steps the page is heard.
    await new Promise((go) => {
      turn.port1.onmessage = go;
      turn.port2.postMessage(0);
    });
    if (!running) break;
    forget();
    try {
      const [lossD, lossG, onReals, onFakes] = await trainer.step();
      const now = performance.now();
      spent += (now - since) / 1000;
      since = now;
      const said = { images: trainer.images, seconds: spent, lossD, lossG, onReals, onFakes };
      if (![lossD, lossG].every(Number.isFinite)) {
        running = false;
        postMessage({ event: "diverged", ...said });
      } else {
        if (spent - sampledAt >= samplesAfter(spent)) {
          sampledAt = spent;
          said.samples = await trainer.samples(latents);
        }
        postMessage({ event: "step", ...said });
      }
    } catch (error) {
      running = false;
      postMessage({ event: "failed", message: String(error.message ?? error) });
    }
  }
  turn.port1.close();
}

// One act after the other, in the order in which they were asked for.
let queue = Promise.resolve();
onmessage = ({ data: { id, act, ...given } }) => {
  queue = queue.then(() => acts[act](given)).then(
    (answer) => postMessage({ id, ...answer }),
    (error) => postMessage({ id, error: String(error.message ?? error) }),
  );
};
