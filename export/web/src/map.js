// The map: a plane of latent space around one picture, tiled with thumbnails, to roam. A step from
// tile to tile turns the latent by the same angle, so that all tiles are equally likely pictures.

import { axesAt, turned } from "./latents.js";

export const ACROSS = 5; // tiles in sight, across and down
const STEP_RADIANS = 0.3;
const AT_ONCE = 3; // tiles that are made before the map is drawn again
const MOST_TILES = 300; // in memory

export class LatentMap {
  /** Of the plane through a latent, near two directions or drawn. `draw(latents)` gives pictures, as ImageData. */
  constructor(latent, draw, near) {
    Object.assign(this, { latent, draw, x: 0, y: 0, tiles: new Map(), axes: axesAt(latent, 0, near) });
  }

  /** Move the sight by so many tiles. */
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
  }

  /** The tile at a place in sight, each from 0 to 1. */
  tileAt(u, v) {
    return [Math.round(this.x + (u - 0.5) * ACROSS), Math.round(this.y + (v - 0.5) * ACROSS)];
  }

  get middle() {
    return this.tileAt(0.5, 0.5);
  }

  latentOf([i, j]) {
    return turned(this.latent, this.axes, i * STEP_RADIANS, j * STEP_RADIANS);
  }

  /** Draw what is in sight on a canvas. Returns whether tiles are still missing. */
  async paint(canvas) {
    const half = Math.ceil(ACROSS / 2);
    const { middle } = this;
    const far = ([i, j]) => Math.hypot(i - this.x, j - this.y);
    const sight = Array.from({ length: (2 * half + 1) ** 2 }, (_, n) => {
      return [middle[0] - half + (n % (2 * half + 1)), middle[1] - half + Math.floor(n / (2 * half + 1))];
    }).filter(([i, j]) => Math.max(Math.abs(i - this.x), Math.abs(j - this.y)) < ACROSS / 2 + 0.5);
    const missing = sight.filter((tile) => !this.tiles.has(String(tile))).sort((a, b) => far(a) - far(b));
    const now = missing.slice(0, AT_ONCE);
    if (this.tiles.size > MOST_TILES) this.tiles.clear();
    if (now.length) for (const [n, data] of (await this.draw(now.map((tile) => this.latentOf(tile)))).entries()) {
      this.tiles.set(String(now[n]), await createImageBitmap(data));
    }
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    const [wide, high] = [canvas.width / ACROSS, canvas.height / ACROSS];
    for (const tile of sight) {
      const [left, top] = [(tile[0] - this.x + ACROSS / 2 - 0.5) * wide, (tile[1] - this.y + ACROSS / 2 - 0.5) * high];
      const bitmap = this.tiles.get(String(tile));
      if (bitmap) context.drawImage(bitmap, left + 1, top + 1, wide - 2, high - 2);
      if (String(tile) !== String(middle)) continue;
      context.strokeStyle = "#f2925c";
      context.lineWidth = 3;
      context.strokeRect(left + 1.5, top + 1.5, wide - 3, high - 3);
    }
    return missing.length > AT_ONCE;
  }
}
