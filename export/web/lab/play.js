// A walk through what a generator has learned, to be seen and to be filmed, by the code of the player
// page. What is shown is what `vidgan render` makes of the walk in the film and of the saved generator.

import { FPS, Taken, enlargement } from "../src/send.js";
import { bestFormat } from "../src/record.js";
import { course, framesOf, keyframesOf } from "../src/walk.js";
import { sha256 } from "./model_file.js";
import { shown } from "./pictures.js";
import { Z_DIM } from "./sizes.js";

const KEYFRAMES = 8;

/** What the player page asks of a generator. `latents => bytes` are its frames; `file`, its weights, names it in walks. */
export async function generatorOf({ side, colours }, frames, file, version) {
  const info = { z_dim: Z_DIM, width: side, height: side, classes: 0, vidgan_version: version, sha256: await sha256(file) };
  return {
    info,
    frames: async (latents) => {
      const bytes = await frames(latents);
      return latents.map((_, i) => shown({ bytes, colours, side }, i));
    },
  };
}

/** What this browser can film pictures of a side as, or null. */
export function filmFormat(side) {
  const film = side * enlargement({ width: side, height: side });
  return bestFormat(film, film);
}

export class Play {
  constructor(generator, seed) {
    this.generator = generator;
    this.walk = {
      path: "loop", seed: String(seed), keyframes: keyframesOf(seed, KEYFRAMES), closed: true, hold: 0, ease: "linear",
      speed: 1, truncation: 1, labels: [0], directions: [],
    };
    this.course = course(this.walk, generator.info);
  }

  get seconds() {
    return framesOf(this.walk) / FPS;
  }

  /** The picture at time t, from 0 to 1 over the walk. */
  async at(t) {
    const [picture] = await this.generator.frames([this.course.near(this.course.along(t), t)]);
    return picture;
  }

  /** The film, as a file. `seen(canvas)` gets its pictures on their way. */
  film(format, seen, onProgress, signal) {
    return new Taken(this.generator, this.walk, true, seen).film(format, onProgress, signal);
  }
}
