// What a person takes away of a walk: the picture of a moment, a clip, a film. Each is marked as
// synthetic, and holds the walk it is of. It is made of a copy, so that no later change is in it.

import { animation, gif, reduced, withPacket } from "./pictures.js";
import { course, framesOf, toJson } from "./walk.js";
import { strengthAt } from "./latents.js";
import { packet } from "./mark.js";
import { record } from "./record.js";

export const FPS = 30;
const FILM_SIDE = 512; // at least so many pixels on a film's short side, as in `vidgan render`
export const CLIP_SIDE = 256;
export const CLIP_FPS = 20;
const MOST_CLIP_FRAMES = 100;

/** The smallest factor, 1 or even, that brings the short side of a picture to at least `least`. */
export function enlargement({ width, height }, least = FILM_SIDE) {
  const scale = Math.ceil(least / Math.min(width, height));
  return scale === 1 ? 1 : scale + (scale % 2);
}

/** How many pictures the short loop of a walk has, and how long it takes. */
export const clipFrames = (walk) => Math.min(MOST_CLIP_FRAMES, Math.max(2, Math.round((framesOf(walk) * CLIP_FPS) / FPS)));
export const clipSeconds = (walk) => (walk.closed ? clipFrames(walk) : 2 * clipFrames(walk) - 2) / CLIP_FPS;

async function webp(canvas) {
  const still = await canvas.convertToBlob({ type: "image/webp", quality: 0.85 });
  if (still.type !== "image/webp") throw new Error("this browser cannot write WebP");
  return new Uint8Array(await still.arrayBuffer());
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
    const draw = async (latent, t, weights = this.course.weights(t)) => {
      const [data] = await this.generator.frames([latent], [weights]);
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

  /** A short loop, as a file of "WebP" or "GIF". An open walk goes there and back. */
  async clip(kind, onProgress, signal) {
    const { canvas, context, draw } = this.#canvas(CLIP_SIDE);
    const { width, height } = canvas;
    const count = clipFrames(this.walk);
    const stills = [];
    for (let i = 0; i < count; i++) {
      signal.throwIfAborted();
      await draw(this.course.latent(i, count), this.course.time(i, count));
      stills.push(kind === "GIF" ? reduced(context.getImageData(0, 0, width, height).data) : await webp(canvas));
      onProgress((i + 1) / count);
    }
    if (!this.walk.closed) stills.push(...stills.slice(1, -1).reverse());
    const blob = (kind === "GIF" ? gif : animation)(stills, { width, height, ms: 1000 / CLIP_FPS, xmp: this.#packet(this.comment) });
    return new File([blob], `${this.name}.${kind.toLowerCase()}`, { type: blob.type });
  }

  /** One picture, as a file: of a latent before truncation, at time t, and of a mixture of classes if not the walk's. */
  async picture(latent, t, mix) {
    const { canvas, draw } = this.#canvas(FILM_SIDE);
    await draw(this.course.near(latent, t), t, mix);
    const png = await canvas.convertToBlob({ type: "image/png" });
    const directions = this.walk.directions.map((one) => ({ ...one, strengths: [strengthAt(one, t, this.walk.closed)] }));
    const moment = { ...this.walk, directions, path: "loop", closed: true, hold: 0, ease: "linear", keyframes: [{ latent }] };
    const blob = withPacket(new Uint8Array(await png.arrayBuffer()), this.#packet(toJson(moment, this.info, mix)));
    return new File([blob], `${this.name}.png`, { type: blob.type });
  }

  #packet(comment) {
    return new TextEncoder().encode(packet(comment, this.info.vidgan_version));
  }
}
