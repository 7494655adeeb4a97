// Sound moves the walk, by the rule of `vidgan render --audio` (vidgan/film/sound.py): it goes faster
// where notes begin and where it is loud, and pictures come nearer to the typical one where it is quiet.
// A file is measured first, and then the walk lasts as long as it. The microphone is measured as it comes.

export const RATE = 22_050; // samples per second, for the analysis
const HOP = 512;
const WINDOW = 1024;
const SMOOTHING_S = 0.25;
const DECAY = Math.exp(-HOP / RATE / (0.8 * SMOOTHING_S)); // of a beat, from hop to hop
const FORGETS_S = 20; // the microphone compares with the loudest of about so long
const TAPER = Float64Array.from({ length: WINDOW }, (_, n) => (0.5 - 0.5 * Math.cos((2 * Math.PI * n) / (WINDOW - 1))) / (WINDOW / 4));

/** The absolute values of the first half of the Fourier transform of a window. */
function spectrum(window) {
  const re = window.map((x, n) => x * TAPER[n]);
  const im = new Float64Array(WINDOW);
  for (let i = 1, j = 0; i < WINDOW; i++) { // bits in reverse
    let bit = WINDOW >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [re[i], re[j]] = [re[j], re[i]];
  }
  for (let size = 2; size <= WINDOW; size <<= 1) {
    for (let k = 0; k < size / 2; k++) {
      const [c, s] = [Math.cos((-2 * Math.PI * k) / size), Math.sin((-2 * Math.PI * k) / size)];
      for (let a = k; a < WINDOW; a += size) {
        const b = a + size / 2;
        const [x, y] = [re[b] * c - im[b] * s, re[b] * s + im[b] * c];
        [re[b], im[b]] = [re[a] - x, im[a] - y];
        [re[a], im[a]] = [re[a] + x, im[a] + y];
      }
    }
  }
  return Float64Array.from({ length: WINDOW / 2 + 1 }, (_, n) => Math.hypot(re[n], im[n]));
}

/** How loud a window is and how much begins in it, and its spectrum for the next one. */
function heard(window, before) {
  const now = spectrum(window).map((level) => Math.log1p(100 * level));
  const rise = before ? now.reduce((sum, level, n) => sum + Math.max(level - before[n], 0), 0) / now.length : 0;
  return { loudness: Math.sqrt(window.reduce((sum, x) => sum + x * x, 0) / WINDOW), onset: rise, now };
}

const clipped = (x) => Math.min(1, Math.max(0, x));
const drive = (loud, beat) => ({ speed: 0.25 + 0.75 * loud + 2 * beat, gain: clipped(1 - 0.4 * (1 - loud)) });

function normalized(values, percentile) {
  const sorted = Float64Array.from(values.length ? values : [0]).sort();
  const at = ((sorted.length - 1) * percentile) / 100;
  const low = Math.floor(at);
  const white = sorted[low] + (at - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
  return Array.from(values, (x) => clipped(x / Math.max(white, 1e-4)));
}

/** How a sound moves a walk: {speed, gain} of each frame. Samples are mono, RATE a second. */
export function listen(samples, fps) {
  const [loudness, onset] = [[], []];
  let before = null;
  for (let start = 0; start + WINDOW <= samples.length; start += HOP) {
    const found = heard(Float64Array.from(samples.subarray(start, start + WINDOW)), before);
    before = found.now;
    loudness.push(found.loudness);
    onset.push(found.onset);
  }
  const beat = normalized(onset, 99).map((x) => x * x);
  for (let i = 1; i < beat.length; i++) beat[i] = Math.max(beat[i], beat[i - 1] * DECAY);
  const reach = Math.round(((SMOOTHING_S * RATE) / HOP - 1) / 2);
  const level = normalized(loudness, 95);
  const loud = level.map((_, i) => {
    const near = level.slice(Math.max(0, i - reach), i + reach + 1);
    return near.reduce((sum, x) => sum + x, 0) / near.length;
  });
  const between = (values, at) => {
    const low = Math.floor(at);
    const [a, b] = [low, low + 1].map((i) => values[Math.min(values.length - 1, Math.max(0, i))] ?? 0);
    return a + (at - low) * (b - a);
  };
  const frames = Math.max(1, Math.round((samples.length / RATE) * fps));
  return Array.from({ length: frames }, (_, i) => {
    const hop = (((i + 0.5) / fps) * RATE - WINDOW / 2) / HOP;
    return drive(between(loud, hop), between(beat, hop));
  });
}

/** A sound that plays and moves a walk. */
class Song {
  static async of(file, fps) {
    const bytes = await file.arrayBuffer();
    const small = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytes.slice(0));
    const mono = new Float32Array(small.length);
    for (let c = 0; c < small.numberOfChannels; c++) small.getChannelData(c).forEach((x, i) => (mono[i] += x / small.numberOfChannels));
    const context = new AudioContext();
    return new Song(listen(mono, fps), fps, await context.decodeAudioData(bytes), context);
  }

  constructor(drives, fps, buffer, context) {
    this.sums = [0];
    for (const { speed } of drives) this.sums.push(this.sums.at(-1) + speed);
    Object.assign(this, { drives, fps, seconds: buffer.duration, context });
    this.source = new AudioBufferSourceNode(this.context, { buffer, loop: true });
    this.source.connect(this.context.destination);
    this.source.start();
    this.begun = this.context.currentTime;
  }

  /** Where the walk is now, from 0 to 1, and the gain. */
  step() {
    const at = ((this.context.currentTime - this.begun) % this.seconds) * this.fps;
    const frame = Math.min(this.drives.length - 1, Math.floor(at));
    const gone = this.sums[frame] + Math.min(1, at - frame) * this.drives[frame].speed;
    return [gone / this.sums.at(-1), this.drives[frame].gain];
  }

  pause(still) {
    if (still !== (this.context.state === "suspended")) this.context[still ? "suspend" : "resume"]().catch(() => {}); // closed meanwhile
  }

  stop() {
    this.context.close();
  }
}

/** The microphone, which moves a walk. */
class Microphone {
  constructor(stream, context) {
    Object.assign(this, { stream, context, window: new Float32Array(WINDOW), loud: 0, beat: 0, most: { loudness: 1e-3, onset: 1e-3 } });
    this.analyser = new AnalyserNode(context, { fftSize: WINDOW });
    context.createMediaStreamSource(stream).connect(this.analyser);
  }

  step(t, share, elapsed) {
    this.analyser.getFloatTimeDomainData(this.window);
    const found = heard(Float64Array.from(this.window), this.before);
    this.before = found.now;
    for (const key of ["loudness", "onset"]) this.most[key] = Math.max(found[key], this.most[key] * Math.exp(-elapsed / FORGETS_S), 1e-3);
    const level = found.loudness / this.most.loudness;
    this.loud += (level - this.loud) * (1 - Math.exp(-elapsed / SMOOTHING_S));
    this.beat = Math.max((found.onset / this.most.onset) ** 2, this.beat * DECAY ** ((elapsed * RATE) / HOP));
    const { speed, gain } = drive(this.loud, this.beat);
    return [(t + share * speed) % 1, gain];
  }

  pause() {}

  stop() {
    for (const track of this.stream.getTracks()) track.stop();
    this.context.close();
  }
}

/**
 * Set up the buttons of a group. `heard(sound, name)` is called with what moves the walk from now on;
 * null is silence. A sound has step(t, share, elapsed), pause(still) and stop().
 */
export function soundBy(group, fps, { heard: changed, failed }) {
  const [choose, microphone] = group.querySelectorAll("button");
  const chooser = group.querySelector("input");
  let now = null;
  const set = (sound, name) => {
    now?.stop();
    now = sound;
    choose.textContent = sound ? "Stop" : "Music";
    microphone.hidden = !!sound;
    changed(sound, name);
  };
  choose.addEventListener("click", () => (now ? set(null) : chooser.click()));
  chooser.addEventListener("change", async () => {
    const [file] = chooser.files;
    chooser.value = "";
    if (!file) return;
    try {
      set(await Song.of(file, fps), file.name);
    } catch {
      failed(`${file.name} cannot be read as sound.`);
    }
  });
  microphone.addEventListener("click", async () => {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      set(new Microphone(stream, new AudioContext()), "the microphone");
    } catch (error) {
      failed(`The microphone cannot be used: ${error.message ?? error}`);
    }
  });
}
