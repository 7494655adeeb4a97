// Time travel: a slider through earlier states of the generator's training, up to the one of now.

const PREFIX = "then-"; // and the number of pictures that the network had seen

/**
 * Set up the slider of a group. `open(name)` gives the generator of a state. `travel(generator)` is
 * called with the one to show; null is that of now.
 */
export function travelBy(group, extras, open, travel, failed) {
  const states = extras.filter((name) => name.startsWith(PREFIX));
  if (!states.length) return;
  group.hidden = false;
  const [input, output] = [group.querySelector("input"), group.querySelector("output")];
  const opened = new Map();
  let asked = states.length;
  const say = () => {
    const seen = Number(states[asked]?.slice(PREFIX.length));
    output.value = asked === states.length ? "as it is now" : seen ? `${seen.toLocaleString("en")} pictures seen` : "before the first picture";
    input.setAttribute("aria-valuetext", output.value);
    input.style.setProperty("--done", `${(100 * asked) / states.length}%`);
  };
  Object.assign(input, { max: states.length, value: states.length });
  input.addEventListener("input", async () => {
    const at = (asked = input.valueAsNumber);
    say();
    try {
      if (at < states.length && !opened.has(at)) opened.set(at, open(states[at]));
      const generator = (await opened.get(at)) ?? null;
      if (at === asked) travel(generator); // it may have moved on meanwhile
    } catch (error) {
      opened.delete(at);
      failed(`This state cannot be shown: ${error.message ?? error}`);
    }
  });
  say();
}
