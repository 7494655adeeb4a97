// Sliders for the named directions of a generator. It knows nothing of latents: its owner is told of
// every change, and keeps it in the walk. A name is foreign text, and is only ever shown as text.

export class Sliders {
  /** `own` are the directions of the page: {name, range, vector, moves}. `changed(directions, done)` gets the new list of a
   * walk; done is whether the person has let go. */
  constructor(list, own, changed) {
    Object.assign(this, { list, own: own.filter(({ name, moves }) => name in moves), changed });
  }

  /** Show the directions of a walk, and all of the page. */
  show(directions) {
    this.directions = directions;
    const foreign = directions.filter(({ name }) => this.own.every((one) => one.name !== name));
    const all = [...this.own, ...foreign.map(({ name }) => ({ name, range: 3 }))];
    const names = String(all.map(({ name }) => name));
    if (names !== this.names) this.list.replaceChildren(...all.map((one) => this.#item(one)));
    this.names = names;
    for (const [i, item] of [...this.list.children].entries()) {
      const strengths = this.#of(all[i].name)?.strengths ?? [0];
      const [{ lastChild: value }, input] = item.children;
      const said = strengths.map((x) => `${x > 0 ? "+" : ""}${Number(x.toFixed(2))}`).join(" to ").replaceAll("-", "−");
      value.value = strengths.every((x) => !x) ? "" : said;
      input.value = strengths[0];
      input.setAttribute("aria-valuetext", said);
      const share = (x) => `${(100 * (x - input.min)) / (input.max - input.min)}%`; // it fills from its middle
      input.style.setProperty("--from", share(Math.min(0, input.value)));
      input.style.setProperty("--to", share(Math.max(0, input.value)));
    }
  }

  #of(name) {
    return this.directions.find((one) => one.name === name);
  }

  #item({ name, range }) {
    const item = document.createElement("li");
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "range", min: -range, max: range, step: 0.1, className: "both", id: `slider-${name}` });
    label.htmlFor = input.id;
    label.append(named(name), document.createElement("output"));
    item.append(label, input);
    const move = (strength, done) => {
      const now = { name, strengths: [strength], vector: (this.#of(name) ?? this.own.find((one) => one.name === name)).vector };
      const others = this.directions.map((one) => (one.name === name ? now : one));
      this.changed((others.includes(now) ? others : [...others, now]).filter((one) => one !== now || strength), done);
    };
    input.addEventListener("input", () => move(input.valueAsNumber, false));
    input.addEventListener("change", () => move(input.valueAsNumber, true));
    input.addEventListener("dblclick", () => move(0, true));
    return item;
  }
}

/** A name of `vidgan directions` as a page says it. */
const named = (name) => (name[0].toUpperCase() + name.slice(1)).replace("light-left", "light left").replaceAll("-", " ");

/**
 * The two directions that a drag to the right and a drag down follow: those that change pictures most,
 * turned so that light goes where the finger goes. Undefined if the page has none.
 */
export function strongest(own) {
  const of = (kind) => own.filter(({ name }) => name.startsWith(kind)).slice(0, 2);
  const pair = [of("sefa"), of("pca"), own.slice(0, 2)].find((two) => two.length === 2);
  if (!pair) return undefined;
  const by = ({ moves }, measure) => moves[measure] ?? 0;
  const sideways = (one) => Math.abs(by(one, "light-left")) - Math.abs(by(one, "light-top"));
  const [across, down] = pair.toSorted((a, b) => sideways(b) - sideways(a));
  const turned = (one, measure) => one.vector.map((x) => (by(one, measure) > 0 ? -x : x));
  return [turned(across, "light-left"), turned(down, "light-top")];
}
