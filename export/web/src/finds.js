// The strip of recent finds: what a person saw and left, to come back to. It knows nothing of walks:
// its owner names each find, draws it and goes to it.

const MOST = 24;

export class Finds {
  #known = new Map();

  /** `paint(find, canvas)` draws a thumbnail; `choose(find)` is called with the one that is pressed. */
  constructor(list, paint, choose) {
    Object.assign(this, { list, paint, choose });
  }

  /** Put a find at the front. One of the same name was the same, and leaves its place. */
  add(name, find) {
    this.#known.get(name)?.remove();
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.className = "key";
    button.setAttribute("aria-label", `Go back to this picture of seed ${find.walk.seed}`);
    button.append(document.createElement("canvas"));
    button.addEventListener("click", () => this.choose(find));
    item.append(button);
    this.paint(find, button.firstChild);
    this.list.prepend(item);
    this.#known.delete(name);
    this.#known.set(name, item);
    const [oldest] = this.#known;
    if (this.#known.size > MOST) oldest[1].remove(), this.#known.delete(oldest[0]);
  }
}
