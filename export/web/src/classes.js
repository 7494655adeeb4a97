// The classes that a walk goes through, as a list of menus. It knows nothing of walks: its owner is
// told of every change. A name is foreign text, and is only ever shown as text.

export class ClassList {
  /** `changed(labels)` is called with the new list of class numbers. */
  constructor(list, names, changed) {
    Object.assign(this, { list, names, changed });
  }

  show(labels) {
    this.labels = labels;
    while (this.list.children.length > labels.length) this.list.lastChild.remove();
    while (this.list.children.length < labels.length) this.list.append(this.#item());
    for (const [i, item] of [...this.list.children].entries()) {
      const [menu, remove] = item.children;
      menu.value = labels[i];
      menu.setAttribute("aria-label", `Class ${i + 1} of ${labels.length}`);
      remove.setAttribute("aria-label", `Remove class ${i + 1}`);
    }
  }

  /** Append the class after the last one. */
  add() {
    this.changed([...this.labels, (this.labels.at(-1) + 1) % this.names.length]);
  }

  #item() {
    const item = document.createElement("li");
    const menu = document.createElement("select");
    menu.append(...this.names.map((name, label) => new Option(name, label)));
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "quiet";
    remove.textContent = "×";
    item.append(menu, remove);
    const at = () => [...this.list.children].indexOf(item);
    menu.addEventListener("change", () => this.changed(this.labels.with(at(), Number(menu.value))));
    remove.addEventListener("click", () => this.changed(this.labels.toSpliced(at(), 1)));
    return item;
  }
}

/** A mixture in words: the names with a share of at least one percent, the largest first. */
export function mixture(weights, names) {
  const shares = [...weights].map((weight, label) => [Math.round(100 * weight), label]);
  const shown = shares.filter(([share]) => share > 0).sort(([a], [b]) => b - a);
  return shown.map(([share, label]) => (share === 100 ? names[label] : `${share}% ${names[label]}`)).join(", ");
}
