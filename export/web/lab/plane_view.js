// The plane: a person sees data, made-up points and the discriminator's belief, and turns the knobs.

import { gaussian } from "../src/latents.js";
import { FIELD, REACH, found, middles, points } from "./heaps.js";

const $ = (id) => document.getElementById(id);
const SHOWN = 600; // points of the data
const PENALTY = 1; // gamma of R1, when it is on
const [TOGETHER, FAST, SLOW] = [-3, -2.4, -3.7]; // learning rates, as powers of ten
const TURNS = { "non-saturating": 0, minimax: 0, lsgan: 0.5, hinge: 0, rpgan: null }; // the logit at which D cannot tell

export class PlaneView {
  #ask;
  #data = null;
  #seen = null;
  #runs = false;
  #waits = false; // to be drawn
  #small = new OffscreenCanvas(FIELD, FIELD);

  constructor(ask) {
    this.#ask = ask;
    $("plane-train").addEventListener("click", () => this.train(!this.#runs));
    $("plane-anew").addEventListener("click", () => this.anew());
    $("plane-data").addEventListener("change", () => this.anew());
    for (const id of ["plane-loss", "plane-d", "plane-g"]) $(id).addEventListener("input", () => this.#set());
    $("plane-penalty").addEventListener("click", () => {
      $("plane-penalty").ariaPressed = $("plane-penalty").ariaPressed !== "true";
      this.#set();
    });
    $("provoke").addEventListener("click", async () => {
      await this.anew(); // networks that have found all heaps keep them
      this.#turn(SLOW, FAST, "New networks: the generator learns twenty times as fast as its judge. Watch the cloud.");
    });
    $("cure").addEventListener("click", () => {
      this.#turn(TOGETHER, TOGETHER, "Both learn equally fast now. The cloud spreads, heap by heap; give it a thousand steps.");
    });
    this.#show();
  }

  get #settings() {
    return {
      data: $("plane-data").value, loss: $("plane-loss").value, penalty: $("plane-penalty").ariaPressed === "true" ? PENALTY : 0,
      rateD: 10 ** $("plane-d").value, rateG: 10 ** $("plane-g").value,
    };
  }

  /** Make the networks, when the plane is seen for the first time. */
  async open() {
    if (this.#data) return this.#draw();
    await this.anew();
  }

  async anew() {
    const runs = this.#runs;
    await this.train(false);
    const [next, at] = [[], { index: 0 }];
    const normal = () => (next.length || next.push(...gaussian(1, at.index++, 100)), next.pop());
    this.#data = points($("plane-data").value, SHOWN, normal);
    this.show({ steps: 0, ...(await this.#ask("plane", { settings: this.#settings })) });
    if (runs) await this.train(true);
  }

  async train(on) {
    if (on === this.#runs) return;
    this.#runs = on;
    this.#show();
    await this.#ask("planeRun", { on });
  }

  #turn(rateD, rateG, text) {
    [$("plane-d").value, $("plane-g").value] = [rateD, rateG];
    $("plane-story").textContent = text;
    this.#set();
    this.train(true);
  }

  #set() {
    this.#show();
    this.#ask("planeSet", { settings: this.#settings });
  }

  #show() {
    for (const id of ["plane-d", "plane-g"]) {
      const { value, min, max } = $(id);
      $(id).style.setProperty("--done", `${(100 * (value - min)) / (max - min)}%`);
      $(`${id}-value`).value = (10 ** value).toPrecision(1);
    }
    $("plane-train").querySelector("use").setAttribute("href", this.#runs ? "#i-pause" : "#i-play");
    $("plane-train").querySelector("span").textContent = this.#runs ? "Pause" : "Train";
  }

  show(seen) {
    this.#seen = seen;
    document.documentElement.dataset.steps = seen.steps; // read by tests
    $("plane-clock").value = `${seen.steps.toLocaleString("en")} steps`;
    const data = $("plane-data").value;
    const heaps = middles[data]?.length;
    $("heaps").value = heaps ? `${found(data, seen.cloud)} of ${heaps} heaps found` : "";
    if (this.#waits) return;
    this.#waits = true;
    requestAnimationFrame(() => {
      this.#waits = false;
      this.#draw();
    });
  }

  #draw() {
    if (!this.#seen) return;
    const canvas = $("points");
    const context = canvas.getContext("2d");
    const side = canvas.width;
    const colour = (name) => getComputedStyle(document.querySelector(`.${name}`), "::before").backgroundColor;
    context.clearRect(0, 0, side, side);
    const { cloud, field } = this.#seen;
    const sorted = Float32Array.from(field).sort();
    const middle = TURNS[$("plane-loss").value] ?? sorted[sorted.length >> 1];
    const [red, green, blue] = [...colour("of-field").matchAll(/[\d.]+/g)].map(Number);
    const belief = new ImageData(FIELD, FIELD);
    for (const [n, logit] of field.entries()) {
      belief.data.set([red, green, blue, 220 / (1 + Math.exp(2 * (middle - logit)))], 4 * n);
    }
    this.#small.getContext("2d").putImageData(belief, 0, 0);
    context.drawImage(this.#small, 0, 0, side, side);
    const dots = (all, name, radius, alpha) => {
      Object.assign(context, { fillStyle: colour(name), globalAlpha: alpha });
      context.beginPath();
      for (let i = 0; i < all.length; i += 2) {
        const [x, y] = [((all[i] + REACH) / (2 * REACH)) * side, ((REACH - all[i + 1]) / (2 * REACH)) * side];
        context.moveTo(x, y);
        context.arc(x, y, radius, 0, 7);
      }
      context.fill();
    };
    dots(this.#data, "of-data", 2.4, 0.45);
    dots(cloud, "of-g", 4.2, 0.85);
    context.globalAlpha = 1;
  }
}
