// A pad for mixing classes, which stand around it: the nearer a point is to one, the more of it is in the
// picture. It knows nothing of walks. A name is foreign text, and is only ever shown as text.

import { mixture } from "./classes.js";

const MOST = 12; // names that fit around it
const NEAR = 0.15; // of a class: here the picture is of that class alone
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 0.1;
const REACH = 0.38; // of the pad's width and height: the radius of the circle
const percent = (x) => `${50 + 100 * REACH * x}%`;

/** Where `count` classes stand, on the circle of radius 1. */
export function around(count) {
  const first = { 2: Math.PI, 4: (-3 / 4) * Math.PI }[count] ?? -Math.PI / 2; // two side by side, four in the corners
  return Array.from({ length: count }, (_, i) => [Math.cos(first + (2 * Math.PI * i) / count), Math.sin(first + (2 * Math.PI * i) / count)]);
}

/** How much of each of the classes is in the picture of a point: by the inverse square of its distance. */
export function shares([x, y], places) {
  const distances = places.map(([a, b]) => Math.hypot(x - a, y - b));
  const near = distances.findIndex((distance) => distance < NEAR);
  const pulls = distances.map((distance, i) => (near < 0 ? distance ** -2 : Number(i === near)));
  const all = pulls.reduce((sum, pull) => sum + pull);
  return pulls.map((pull) => pull / all);
}

export class Mixer {
  #held = false;

  /** `changed(weights)` gets the weights of all classes, as a Float32Array. */
  constructor(pad, names, changed) {
    Object.assign(this, { pad, names, changed, dot: document.createElement("i") });
    for (const type of ["pointerdown", "pointermove"]) pad.addEventListener(type, (event) => this.#point(event));
    for (const type of ["pointerup", "pointercancel"]) pad.addEventListener(type, () => (this.#held = false));
    pad.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show a mixture, of a walk through the classes `labels`. With many classes, only these stand around the pad. */
  show(weights, labels) {
    const few = this.names.length <= MOST ? [...this.names.keys()] : [...new Set(labels)].slice(0, MOST);
    this.pad.hidden = few.length < 2;
    if (String(few) !== String(this.few)) this.#arrange(few);
    const words = mixture(weights, this.names);
    if (this.pad.getAttribute("aria-valuetext") === words) return;
    this.pad.setAttribute("aria-valuetext", words);
    this.pad.setAttribute("aria-valuenow", Math.round(100 * Math.max(...weights)));
    if (this.#held) return; // the dot is where the finger is
    const at = (axis) => this.places.reduce((sum, place, i) => sum + place[axis] * weights[this.few[i]], 0);
    this.#put([at(0), at(1)]);
  }

  #arrange(few) {
    Object.assign(this, { few, places: around(few.length) });
    this.pad.removeAttribute("aria-valuetext"); // so that the dot finds its new place
    this.pad.replaceChildren(this.dot, ...few.map((label, i) => {
      const name = document.createElement("span");
      name.textContent = this.names[label];
      [name.style.left, name.style.top] = this.places[i].map(percent);
      return name;
    }));
  }

  #put([x, y]) {
    this.at = [x, y];
    [this.dot.style.left, this.dot.style.top] = this.at.map(percent);
  }

  #point(event) {
    if (event.button > 0) return;
    if (event.type === "pointerdown") {
      this.pad.setPointerCapture(event.pointerId);
      this.#held = true;
    }
    if (!this.#held) return;
    const box = this.pad.getBoundingClientRect();
    this.#mix([((event.clientX - box.left) / box.width - 0.5) / REACH, ((event.clientY - box.top) / box.height - 0.5) / REACH]);
  }

  #key(event) {
    const step = KEYS[event.key];
    if (!step || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // the arrows move the walk elsewhere
    this.#held = true;
    this.#mix(this.at.map((x, axis) => x + STEP * step[axis]));
    this.#held = false;
  }

  #mix([x, y]) {
    const far = Math.max(1, Math.hypot(x, y));
    this.#put([x / far, y / far]);
    const weights = new Float32Array(this.names.length);
    shares(this.at, this.places).forEach((share, i) => (weights[this.few[i]] = share));
    this.changed(weights);
  }
}
