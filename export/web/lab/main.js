// The page: a person chooses pictures, trains, watches, plays and takes the generator home.

import { digits, fromCamera, fromFiles, shown, sized } from "./pictures.js";
import { Play, filmFormat, generatorOf } from "./play.js";
import { PlaneView } from "./plane_view.js";
import { Plot } from "./plot.js";

const $ = (id) => document.getElementById(id);
const [ACROSS, ZOOM] = [8, 2]; // samples in a row; pixels of the canvas for one of a sample
const MOST_SAMPLES = 60; // grids that are kept to look back at
const REALS = [16, 4];

// The trainer works in a worker, whose program lies in the page.
const program = new Blob([$("worker").textContent], { type: "text/javascript" });
const worker = new Worker(URL.createObjectURL(program));
const waiting = new Map();
let asked = 0;
const ask = (act, given = {}) => new Promise((done, fail) => {
  waiting.set(++asked, { done, fail });
  worker.postMessage({ id: asked, act, ...given });
});
worker.onmessage = ({ data: { id, event, error, ...rest } }) => {
  if (event) return heard[event](rest);
  if (!id) return;
  const { done, fail } = waiting.get(id);
  waiting.delete(id);
  if (error) fail(new Error(error));
  else done(rest);
};
worker.onerror = (event) => sorry(`The trainer does not start: ${event.message}`);

const plot = new Plot($("plot"));
const version = document.querySelector("meta[name=generator]").content.split(" ")[1];
// pictures: those of `source`, at the size that was chosen. begun: a trainer has them. past: [{ images, pixels }].
// play: a walk through what was learned, until it learns more. playing: the turn that shows it. making: its film.
const view = { source: null, pictures: null, begun: false, training: false, play: null, playing: false, making: null, format: null, past: [], images: 0, follows: true, dirty: false };
let settings = { loss: "non-saturating" };

const heard = {
  step({ images, seconds, lossD, lossG, onReals, onFakes, samples }) {
    Object.assign(view, { images, seconds, onReals, onFakes, lossD, lossG, dirty: true });
    plot.add(lossD, lossG);
    if (samples) sampled(images, samples);
  },
  diverged() {
    train(false);
    story("It diverged: a loss is no number any more. Choose its pictures again to start anew, perhaps with another rule.");
  },
  plane: (seen) => plane.show(seen),
  failed: ({ message }) => sorry(`Training stopped: ${message}`),
};

function sampled(images, pixels) {
  view.past.push({ images, pixels });
  // Of the older half, every other goes.
  if (view.past.length > MOST_SAMPLES) view.past = view.past.filter((_, i) => i % 2 === 0 || i > MOST_SAMPLES / 2);
  $("seek").max = view.past.length - 1;
  $("seek").disabled = view.past.length < 2;
  if (view.follows) $("seek").value = view.past.length - 1;
  filled();
  if (!view.playing) paintSamples();
}

function filled() {
  const { value, max } = $("seek");
  $("seek").style.setProperty("--done", `${(100 * value) / (max || 1)}%`);
}

// What the canvas shows.

function paintSamples() {
  const grid = view.past[Number($("seek").value)];
  if (!grid) return;
  const canvas = $("picture");
  const { colours, side } = view.pictures;
  const context = ofSide(canvas, side * ACROSS);
  for (let i = 0; i < ACROSS ** 2; i++) {
    context.putImageData(shown({ bytes: grid.pixels, colours, side }, i), (i % ACROSS) * side, Math.floor(i / ACROSS) * side);
  }
  glow(canvas);
  document.documentElement.dataset.samples = view.past.length; // read by tests
}

function ofSide(canvas, side) {
  if (canvas.width !== side) Object.assign(canvas, { width: side, height: side });
  return canvas.getContext("2d");
}

function paintReals() {
  const canvas = $("reals");
  const { count, side } = view.pictures;
  Object.assign(canvas, { width: REALS[0] * side, height: REALS[1] * side });
  const context = canvas.getContext("2d");
  for (let i = 0; i < REALS[0] * REALS[1]; i++) {
    const picture = count > 64 ? Math.floor((i * count) / 64) + (i % 10) : i % count;
    context.putImageData(shown(view.pictures, picture % count), (i % REALS[0]) * side, Math.floor(i / REALS[0]) * side);
  }
}

const glow = (canvas) => $("glow").getContext("2d").drawImage(canvas, 0, 0, 8, 8);

/** What is to be said about a training at this moment, for someone who has never seen one. */
function commentary() {
  const { images, onReals, onFakes } = view;
  const { side } = view.pictures;
  if (side > 32 && view.device === "wasm" && images < 1000) return "No graphics card learns here, the processor does: at this size it takes its time. At 32 × 32 it is four times as fast.";
  if (images < 1000) return "It has just begun. For each picture the generator is told a blurred mixture of real ones, and learns to paint detail into it.";
  if (onReals - onFakes > 0.85) return "The discriminator is nearly always right: the generator has to improve, and gets few hints how.";
  if (onReals - onFakes < 0.2) return "The discriminator can hardly tell: the generator fools it well, for now.";
  if (images < 6000) return "The discriminator forces the generator to sharpen what it paints.";
  return "They take turns: one finds a trick, the other learns to see it. So losses go up and down, and pictures get better.";
}

const story = (text) => ($("story").textContent = text);

function show() {
  $("train").querySelector("use").setAttribute("href", view.training ? "#i-pause" : "#i-play");
  $("train").querySelector("span").textContent = view.training ? "Pause" : view.begun ? "Go on" : "Train";
  $("walk").textContent = view.playing ? "Stop" : "Play";
  for (const id of ["walk", "another", "save", "save-onnx"]) $(id).disabled = !view.images || !!view.making;
  $("film").disabled = !view.images || !view.format;
  $("film").textContent = view.making ? "Stop" : "Film";
  for (const id of ["digits", "own", "camera"]) $(id).ariaPressed = view.pictures?.kind === id;
  $("hint").classList.toggle("gone", view.begun);
}

function tick() {
  requestAnimationFrame(tick);
  if (!view.dirty) return;
  view.dirty = false;
  const { images, seconds, onReals, onFakes } = view;
  $("clock").value = `${images.toLocaleString("en")} images`;
  $("status").textContent = seconds ? `${(images / seconds).toFixed(0)} images/s${view.device === "webgpu" ? " on the GPU" : ""}` : "";
  for (const [id, share] of [["on-reals", onReals], ["on-fakes", onFakes]]) {
    $(id).value = share;
    $(id).nextElementSibling.value = `${Math.round(100 * share)} %`;
  }
  plot.draw();
  if (view.training) story(commentary());
  if (images && $("walk").disabled) show();
}

// What a person does.

async function train(on) {
  stop();
  if (on && !view.begun) {
    $("train").disabled = true;
    story("The networks are made, and every picture gets its code. The first step takes some seconds: it is compiled.");
    document.body.classList.add("loading");
    try {
      const { device } = await ask("begin", { pictures: view.pictures, settings });
      Object.assign(view, { device, begun: true });
    } catch (error) {
      return sorry(`Training cannot begin: ${error.message}`);
    } finally {
      $("train").disabled = false;
      document.body.classList.remove("loading");
    }
  }
  view.training = on;
  worker.postMessage({ act: "run", on, id: 0 });
  show();
}

/** End what is played or filmed. */
function stop() {
  view.making?.abort();
  view.playing = false;
}

function use(source, kind) {
  if (view.training) train(false);
  stop();
  const pictures = sized(source, Number($("side").value));
  Object.assign(view, { source, pictures: { ...pictures, kind }, begun: false, play: null, past: [], images: 0, seconds: 0, onReals: 0, onFakes: 0, follows: true, dirty: true });
  Object.assign($("seek"), { max: 0, value: 0, disabled: true });
  $("sorry").textContent = "";
  plot.clear();
  paintReals();
  $("picture").getContext("2d").clearRect(0, 0, 9999, 9999);
  $("count").value = `${pictures.count.toLocaleString("en")} pictures`;
  $("data-note").textContent = pictures.count < 100 ? "With so few, it soon repeats itself: a hundred or more are better." : "";
  show();
  filmFormat(pictures.side).then((format) => {
    view.format = format;
    $("film-note").textContent = format ? "" : "This browser cannot make films.";
    show();
  });
}

async function choose(kind, get) {
  try {
    use(await get(), kind);
  } catch (error) {
    toast(error.name === "NotAllowedError" ? "The camera was not allowed." : error.name === "NotFoundError" ? "There is no camera." : error.message);
    $("data-note").textContent = "";
  }
}

const ofFiles = (files) => choose("own", () => fromFiles(files, (count) => ($("data-note").textContent = `${count} pictures read`)));

/** The bytes of a file of what has been learned. */
const fileOf = async (kind) => (await ask("file", { kind, facts: { data: view.pictures.name }, version })).content;

/** A walk, through what it has learned until now. */
async function walked(anew) {
  if (view.training) await train(false);
  view.play = anew || view.play?.images !== view.images ? null : view.play;
  if (view.play) return view.play;
  const { images } = view;
  const frames = async (latents) => (await ask("frames", { latents })).pixels;
  const generator = await generatorOf(view.pictures, frames, await fileOf("safetensors"), version);
  return (view.play = Object.assign(new Play(generator, Math.floor(Math.random() * 1e6)), { images }));
}

function paintWalk(picture) {
  const context = ofSide($("picture"), view.pictures.side);
  if (picture instanceof ImageData) context.putImageData(picture, 0, 0);
  else context.drawImage(picture, 0, 0);
  glow($("picture"));
  document.documentElement.dataset.frames = Number(document.documentElement.dataset.frames ?? 0) + 1; // read by tests
}

async function play(anew = false) {
  if (view.playing && !anew) {
    stop();
    show();
    return paintSamples();
  }
  stop();
  story("You walk through what it has learned: neighbouring numbers give neighbouring pictures.");
  const walk = await walked(anew);
  const turn = (view.playing = {});
  show();
  const since = performance.now();
  while (view.playing === turn) {
    const picture = await walk.at(((performance.now() - since) / 1000 / walk.seconds) % 1);
    if (view.playing === turn) paintWalk(picture);
    await new Promise(requestAnimationFrame);
  }
}

async function film() {
  if (view.making) return view.making.abort();
  const played = view.playing;
  await train(false); // which stops what is played
  const { signal } = (view.making = new AbortController());
  const bar = $("film-progress");
  bar.hidden = false;
  show();
  try {
    const walk = await walked();
    story(`A film of ${walk.seconds.toFixed(0)} seconds, picture by picture.`);
    keep(await walk.film(view.format, (canvas) => signal.aborted || paintWalk(canvas), (share) => (bar.value = share), signal));
    story("The film is among your downloads. It says of itself that a network made it.");
  } catch (error) {
    toast(error.name === "AbortError" ? "Stopped" : `No film was made: ${error.message}`);
  } finally {
    Object.assign(bar, { hidden: true, value: 0 });
    view.making = null;
    show();
  }
  if (played && !signal.aborted) await play();
}

async function save(kind) {
  const name = `generator.${kind}`;
  const { training } = view;
  if (training) await train(false); // so that the weights stay while they are read
  keep(new File([await fileOf(kind)], name));
  if (training) await train(true);
  toast(`Then: vidgan render --model ${name} out.mp4`);
}

/** Put a file among the downloads. */
function keep(file) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: file.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function sorry(text) {
  view.training = false;
  $("sorry").textContent = text;
  show();
}

let fading;
function toast(text) {
  clearTimeout(fading);
  $("toast").textContent = text;
  $("toast").classList.add("shown");
  fading = setTimeout(() => $("toast").classList.remove("shown"), 5000);
}

$("train").addEventListener("click", () => train(!view.training));
$("seek").addEventListener("input", () => {
  view.follows = Number($("seek").value) === view.past.length - 1;
  stop();
  filled();
  show();
  paintSamples();
});
$("digits").addEventListener("click", () => choose("digits", digits));
$("own").addEventListener("click", () => $("files").click());
$("files").addEventListener("change", () => $("files").files.length && ofFiles([...$("files").files]));
$("camera").addEventListener("click", () => choose("camera", () => fromCamera((share) => ($("data-note").textContent = `Recording: ${Math.ceil(20 * (1 - share))} s left. Move!`))));
$("loss").addEventListener("change", async () => {
  settings = { ...settings, loss: $("loss").value };
  if (view.begun) await ask("set", { settings });
});
$("side").addEventListener("change", () => use(view.source, view.pictures.kind));
const acts = { walk: () => play(), another: () => play(true), film, save: () => save("safetensors"), "save-onnx": () => save("onnx") };
for (const [id, act] of Object.entries(acts)) $(id).addEventListener("click", () => act().catch((error) => sorry(`That failed: ${error.message}`)));
$("help-open").addEventListener("click", () => $("help").showModal());
$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = dark === "dark" ? "light" : "dark";
  plot.draw();
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", () => document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  ofFiles([...event.dataTransfer.files]);
});
addEventListener("resize", () => plot.draw());
addEventListener("beforeunload", (event) => view.images > 3000 && event.preventDefault());

const plane = new PlaneView(ask);
for (const name of ["pictures", "plane"]) {
  $(`to-${name}`).addEventListener("click", () => {
    for (const other of ["pictures", "plane"]) {
      $(other).hidden = other !== name;
      $(`to-${other}`).ariaPressed = other === name;
    }
    // One game at a time: both would take twice as long.
    if (name === "plane" && view.training) train(false);
    if (name === "plane") plane.open();
    else plane.train(false);
  });
}

globalThis.vidgan = { ask, view, plane }; // for tests and curious people
tick();
choose("digits", digits);
