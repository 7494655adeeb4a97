// The losses over images. A run of any length is kept as at most 600 points, each a mean.

const MOST = 600;

export class Plot {
  #points = [];
  #each = 1; // steps in a point
  #sum = null;

  constructor(canvas) {
    this.canvas = canvas;
  }

  clear() {
    [this.#points, this.#each, this.#sum] = [[], 1, null];
    this.draw();
  }

  add(lossD, lossG) {
    this.#sum ??= { count: 0, lossD: 0, lossG: 0 };
    this.#sum.count++;
    this.#sum.lossD += lossD;
    this.#sum.lossG += lossG;
    if (this.#sum.count < this.#each) return;
    this.#points.push([this.#sum.lossD / this.#each, this.#sum.lossG / this.#each]);
    this.#sum = null;
    if (this.#points.length === MOST) {
      this.#points = this.#points.filter((_, i) => i % 2).map(([d, g], i) => [(d + this.#points[2 * i][0]) / 2, (g + this.#points[2 * i][1]) / 2]);
      this.#each *= 2;
    }
  }

  draw() {
    const { canvas } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (!width) return;
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const colours = ["of-d", "of-g"].map((name) => getComputedStyle(document.querySelector(`.${name}`), "::before").backgroundColor);
    const values = this.#points.flat();
    const most = Math.max(2, Math.min(10, Math.max(0, ...values) * 1.05));
    const least = Math.min(0, Math.max(-10, Math.min(0, ...values)));
    const at = (value) => height - (height * (value - least)) / (most - least);
    Object.assign(context, { fillStyle: getComputedStyle(canvas).color, globalAlpha: 0.55, font: `${11 * ratio}px sans-serif` });
    for (let line = Math.ceil(least); line < most; line += most > 5 ? 2 : 1) {
      context.fillRect(0, at(line), width, ratio / 2);
      context.fillText(line, 4 * ratio, at(line) - 3 * ratio);
    }
    Object.assign(context, { globalAlpha: 1, lineWidth: 1.6 * ratio, lineJoin: "round" });
    for (const [which, colour] of colours.entries()) {
      context.strokeStyle = colour;
      context.beginPath();
      for (const [i, point] of this.#points.entries()) {
        context.lineTo((i / Math.max(60, this.#points.length - 1)) * width, at(point[which]));
      }
      context.stroke();
    }
  }
}
