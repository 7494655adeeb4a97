// What a person takes away of a walk: the picture of a moment, a clip, a film. Each is marked as
// synthetic, and holds the walk it is of. It is made of a copy, so that no later change is in it.

import { animation, withPacket } from "./pictures.js";
import { course, framesOf, toJson } from "./walk.js";
import { strengthAt } from "./latents.js";
import { packet } from "./mark.js";
import { record } from "./record.js";

export const FPS = 30;
const FILM_SIDE = 512; // at least so many pixels on a film's short side, as in `vidgan render`
const CLIP_SIDE = 256;
const CLIP_FPS = 20;
const MOST_CLIP_FRAMES = 100;

/** The smallest factor, 1 or even, that brings the short side of a picture to at least `least`. */
export function enlargement({ width, height }, least = FILM_SIDE) {
  const scale = Math.ceil(least / Math.min(width, height));
  return scale === 1 ? 1 : scale + (scale % 2);
}

export class Taken {
  /** Of a walk and of how it is shown. `seen(canvas)` is called with pictures on their way. */
  constructor(generator, walk, crisp, seen = () => {}) {
    Object.assign(this, { generator, info: generator.info, walk: structuredClone(walk), crisp, seen });
    this.course = course(this.walk, this.info);
    this.name = `walk-${walk.seed}`;
    this.comment = toJson(this.walk, this.info);
  }

  /** A canvas of at least so many pixels, and a function that draws a latent on it. */
  #canvas(least) {
    const scale = enlargement(this.info, least);
    const small = new OffscreenCanvas(this.info.width, this.info.height);
    const canvas = new OffscreenCanvas(small.width * scale, small.height * scale);
    const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    Object.assign(context, { imageSmoothingEnabled: !this.crisp, imageSmoothingQuality: "high" });
    const draw = async (latent, t) => {
      const [data] = await this.generator.frames([latent], [this.course.weights(t)]);
      small.getContext("2d").putImageData(data, 0, 0);
      context.drawImage(small, 0, 0, canvas.width, canvas.height);
      this.seen(small);
    };
    return { canvas, context, draw };
  }

  /** The film, as a file. */
  async film(format, onProgress, signal) {
    const { canvas, context, draw } = this.#canvas(FILM_SIDE);
    const { width, height } = canvas;
    const frames = framesOf(this.walk);
    const blob = await record({
      format, frames, fps: FPS, width, height, comment: this.comment, version: this.info.vidgan_version, signal,
      onProgress: (done) => onProgress(done / frames),
      draw: async (i) => {
        await draw(this.course.latent(i), this.course.time(i));
        return context.getImageData(0, 0, width, height).data;
      },
    });
    return new File([blob], `${this.name}.${format.container.toLowerCase()}`, { type: blob.type });
  }

  /** A short WebP that loops, as a file. An open walk goes there and back. */
  async clip(onProgress, signal) {
    const { canvas, draw } = this.#canvas(CLIP_SIDE);
    const count = Math.min(MOST_CLIP_FRAMES, Math.max(2, Math.round((framesOf(this.walk) * CLIP_FPS) / FPS)));
    const stills = [];
    for (let i = 0; i < count; i++) {
      signal.throwIfAborted();
      await draw(this.course.latent(i, count), this.course.time(i, count));
      const still = await canvas.convertToBlob({ type: "image/webp", quality: 0.85 });
      if (still.type !== "image/webp") throw new Error("this browser cannot write WebP");
      stills.push(new Uint8Array(await still.arrayBuffer()));
      onProgress((i + 1) / count);
    }
    if (!this.walk.closed) stills.push(...stills.slice(1, -1).reverse());
    const blob = animation(stills, { width: canvas.width, height: canvas.height, ms: 1000 / CLIP_FPS, xmp: this.#packet(this.comment) });
    return new File([blob], `${this.name}.webp`, { type: blob.type });
  }

  /** One picture, as a file: of a latent before truncation, at time t. */
  async picture(latent, t) {
    const { canvas, draw } = this.#canvas(FILM_SIDE);
    await draw(this.course.near(latent, t), t);
    const png = await canvas.convertToBlob({ type: "image/png" });
    const directions = this.walk.directions.map((one) => ({ ...one, strengths: [strengthAt(one, t, this.walk.closed)] }));
    const moment = { ...this.walk, directions, path: "loop", closed: true, hold: 0, ease: "linear", keyframes: [{ latent }] };
    const blob = withPacket(new Uint8Array(await png.arrayBuffer()), this.#packet(toJson(moment, this.info)));
    return new File([blob], `${this.name}.png`, { type: blob.type });
  }

  #packet(comment) {
    return new TextEncoder().encode(packet(comment, this.info.vidgan_version));
  }
}
