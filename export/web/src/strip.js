// The strip of keyframes: thumbnails that can be chosen, dragged into another order, and removed. It
// knows nothing of latents. Its owner passes a function that draws a keyframe, and callbacks.

const HOLD_MS = 260; // a finger that rests this long drags the keyframe; a finger that moves earlier scrolls
const FAR_PX = 6;

export class Strip {
  // Only thumbnails in sight are drawn, since a walk may have hundreds of keyframes.
  #inSight = new IntersectionObserver((entries) => entries.forEach(({ isIntersecting, target }) => {
    if (!isIntersecting) return;
    this.#inSight.unobserve(target);
    target.draw();
  }));

  /** `paint(keyframe, canvas, i)` draws a thumbnail; `on` has choose(i), reorder(from, to), remove(i). */
  constructor(list, paint, on) {
    Object.assign(this, { list, paint, on });
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("pointerdown", (event) => this.#press(event));
    // A touch that drags must not scroll too. Only a touchmove listener can prevent that.
    list.addEventListener("touchmove", (event) => this.held && event.preventDefault(), { passive: false });
    list.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  /** Show the keyframes. Those from index `used` on are dimmed, because the path does not use them. */
  show(keyframes, used) {
    const focused = this.indexOf(document.activeElement);
    this.#inSight.disconnect();
    this.list.replaceChildren(
      ...keyframes.map((keyframe, i) => {
        const item = document.createElement("li");
        item.classList.toggle("unused", i >= used);
        const key = document.createElement("button");
        key.className = "key";
        key.setAttribute("aria-label", `Keyframe ${i + 1} of ${keyframes.length}`);
        key.append(document.createElement("canvas"));
        const remove = document.createElement("button");
        remove.className = "remove";
        remove.textContent = "×";
        remove.tabIndex = -1;
        remove.setAttribute("aria-label", `Remove keyframe ${i + 1}`);
        remove.addEventListener("click", () => this.on.remove(this.indexOf(remove)));
        item.append(key, remove);
        key.draw = () => this.paint(keyframe, key.firstChild, i);
        this.#inSight.observe(key);
        return item;
      }),
    );
    if (focused >= 0) this.focus(Math.min(focused, keyframes.length - 1));
  }

  focus(i) {
    this.list.children[i]?.firstChild.focus();
  }

  indexOf(element) {
    return [...this.list.children].indexOf(element?.closest?.("#strip > li"));
  }

  /** Mark the keyframe that the walk is nearest to. */
  near(i) {
    for (const [n, item] of [...this.list.children].entries()) item.classList.toggle("near", n === i);
  }

  #key(event) {
    const i = this.indexOf(event.target);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const to = i + step;
    if (event.key === "Delete" || event.key === "Backspace") this.on.remove(i);
    else if (step && to >= 0 && to < this.list.children.length) {
      if (event.altKey) this.on.reorder(i, to);
      this.focus(to);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #press(event) {
    const key = event.target.closest(".key");
    if (!key || event.button) return;
    const item = key.parentElement;
    const from = this.indexOf(key);
    const touch = event.pointerType === "touch";
    const hold = () => {
      this.held = true;
      item.classList.add("held");
      navigator.vibrate?.(8);
    };
    const timer = touch && setTimeout(hold, HOLD_MS);
    const move = (now) => {
      const far = Math.hypot(now.clientX - event.clientX, now.clientY - event.clientY) > FAR_PX;
      if (!this.held && far && touch) return end(); // the finger scrolls
      if (!this.held && far) hold();
      if (this.held) this.#place(item, now.clientX);
    };
    const end = (now) => {
      clearTimeout(timer);
      for (const [type, listener] of listeners) document.removeEventListener(type, listener);
      item.classList.remove("held");
      const dragged = this.held;
      this.held = false;
      const to = this.indexOf(item);
      if (dragged && to !== from) this.on.reorder(from, to);
      else if (!dragged && now?.type === "pointerup") {
        this.focus(from);
        this.on.choose(from);
      }
    };
    const listeners = [["pointermove", move], ["pointerup", end], ["pointercancel", end]];
    for (const [type, listener] of listeners) document.addEventListener(type, listener);
  }

  #place(item, x) {
    const others = [...this.list.children].filter((other) => other !== item);
    const after = others.filter((other) => {
      const box = other.getBoundingClientRect();
      return x > box.left + box.width / 2;
    });
    const before = others[after.length] ?? null;
    if (item.nextSibling !== before) this.list.insertBefore(item, before);
  }
}
