// A gamepad and MIDI controllers play the page. This module knows nothing of pictures: it moves ranges
// (inputs of the page) as a hand would, and tells its owner of sticks, buttons and keys.

const DEAD = 0.15; // of a stick: where it rests is never quite 0
const STICK_PER_S = 0.5; // of a range, that a stick passes in a second
const SETTLES_MS = 500; // a range that rests so long has been let go
const BUTTONS = { 0: "choose", 1: "play", 2: "evolve", 3: "roll", 4: "undo", 5: "map", 9: "play", 14: "before", 15: "next" }; // of the standard layout
const [NOTE_ON, CONTROL, MODES] = [0x90, 0xb0, 120]; // of MIDI 1.0; controls from 120 on are no knobs

const past = (x = 0) => (Math.abs(x) < DEAD ? 0 : (x - Math.sign(x) * DEAD) / (1 - DEAD));

const waits = new Map();

/** Move a range as a hand does; `to` is from its least to its most. */
function move(range, to) {
  range.value = to;
  range.dispatchEvent(new Event("input"));
  clearTimeout(waits.get(range));
  waits.set(range, setTimeout(() => range.dispatchEvent(new Event("change")), SETTLES_MS));
}

export class Gamepads {
  #there = false;
  #pressed = new Set();
  #exact = new Map(); // ranges that a stick moves now: a range itself only knows its steps

  /**
   * `ranges()` lists the inputs; the second stick moves the first two. `does` has stick(x, y, seconds), each of x
   * and y from -1 to 1, and a function for each name in BUTTONS. `found(name)` is told of a new gamepad.
   */
  constructor(ranges, does, found) {
    Object.assign(this, { ranges, does });
    addEventListener("gamepadconnected", ({ gamepad }) => ((this.#there = true), found(gamepad?.id)));
  }

  /** Do what the hands on all gamepads ask for. It is called for each frame of the screen. */
  look(seconds) {
    if (!this.#there) return;
    for (const pad of [...navigator.getGamepads()].filter(Boolean)) {
      const [x, y, ...second] = pad.axes.map(past);
      this.does.stick(x, y ?? 0, seconds);
      const ranges = this.ranges();
      for (const [n, by] of second.slice(0, 2).entries()) if (ranges[n]) this.#push(ranges[n], n ? -by : by, seconds);
      for (const [n, { pressed }] of pad.buttons.entries()) {
        const name = `${pad.index} ${n}`;
        if (pressed && !this.#pressed.has(name)) this.does[BUTTONS[n]]?.();
        this.#pressed[pressed ? "add" : "delete"](name);
      }
    }
  }

  #push(range, by, seconds) {
    if (!by) return void this.#exact.delete(range);
    const [least, most] = [Number(range.min), Number(range.max)];
    const to = (this.#exact.get(range) ?? range.valueAsNumber) + by * seconds * STICK_PER_S * (most - least);
    this.#exact.set(range, Math.min(most, Math.max(least, to)));
    move(range, this.#exact.get(range));
  }
}

/**
 * Listen to all MIDI controllers, also those that are plugged in later. The first knob that is turned moves the
 * first of `ranges()`, and so on; `key(note)` is called with each key. Returns their names. Throws without leave to.
 */
export async function listenToMidi(ranges, key) {
  const access = await navigator.requestMIDIAccess();
  const knobs = [];
  const heard = ({ data: [status, number, value] }) => {
    const [kind, knob] = [status & 0xf0, `${status & 0x0f} ${number}`];
    if (kind === NOTE_ON && value) key(number);
    if (kind !== CONTROL || number >= MODES) return;
    if (!knobs.includes(knob)) knobs.push(knob);
    const range = ranges()[knobs.indexOf(knob)];
    if (range) move(range, Number(range.min) + (value / 127) * (range.max - range.min));
  };
  const listen = () => access.inputs.forEach((input) => (input.onmidimessage = heard));
  access.onstatechange = listen;
  listen();
  return [...access.inputs.values()].map(({ name }) => name);
}
