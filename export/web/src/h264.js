// Some browsers' H.264 encoders write no colour description into the stream. A player that looks for
// it there then guesses BT.601 for a small film. This module writes BT.709 into the sequence
// parameter set (SPS; ITU-T H.264, 7.3.2.1.1 and E.1.1) of the decoder's description. The encoded
// pictures stay as they are.

class Bits {
  constructor(bytes = []) {
    this.bits = [];
    for (const byte of bytes) for (let i = 7; i >= 0; i--) this.bits.push((byte >> i) & 1);
    this.at = 0;
  }
  read(count) {
    let value = 0;
    while (count--) value = value * 2 + this.bits[this.at++];
    return value;
  }
  readGolomb() {
    let zeros = 0;
    while (!this.read(1)) zeros++;
    return 2 ** zeros - 1 + this.read(zeros);
  }
  write(value, count) {
    while (count--) this.bits.push(Math.floor(value / 2 ** count) % 2);
  }
}

/** The avcC record (ArrayBuffer or view) with BT.709 in its SPS; unchanged if it has not exactly one. */
export function withColours(description) {
  const source = new Uint8Array(ArrayBuffer.isView(description) ? description.buffer.slice(description.byteOffset, description.byteOffset + description.byteLength) : description);
  if ((source[5] & 31) !== 1) return description;
  const size = (source[6] << 8) | source[7];
  const sps = tagged(source.subarray(8, 8 + size));
  const out = new Uint8Array(source.length - size + sps.length);
  out.set(source.subarray(0, 6));
  out.set([sps.length >> 8, sps.length & 255], 6);
  out.set(sps, 8);
  out.set(source.subarray(8 + size), 8 + sps.length);
  return out;
}

function tagged(nal) {
  const from = new Bits(unescaped(nal));
  skipToVui(from);
  const out = new Bits();
  out.bits = from.bits.slice(0, from.at);
  out.write(1, 1); // vui_parameters_present
  if (from.read(1)) copyToColours(from, out);
  else out.write(0, 2); // no aspect ratio, no overscan
  out.write(1, 1); // video_signal_type_present
  out.write(5, 3); // video_format: unspecified
  out.write(0, 1); // limited range
  out.write(1, 1); // colour_description_present
  for (const code of [1, 1, 1]) out.write(code, 8); // primaries, transfer, matrix: BT.709
  if (from.vui) out.bits.push(...from.bits.slice(from.at, from.bits.lastIndexOf(1) + 1));
  else {
    out.write(0, 7); // flags: no chroma location, timing, HRD (2), pic_struct, bitstream restriction
    out.bits.splice(-1, 1, 1); // they are 6 flags; the 7th bit becomes the stop bit
  }
  while (out.bits.length % 8) out.bits.push(0);
  const bytes = [];
  for (let i = 0; i < out.bits.length; i += 8) bytes.push(parseInt(out.bits.slice(i, i + 8).join(""), 2));
  return escaped(bytes);
}

/** Reads `from` up to vui_parameters_present_flag. */
function skipToVui(from) {
  from.read(8); // NAL header
  const profile = from.read(8);
  from.read(16);
  from.readGolomb(); // id
  if ([100, 110, 122, 244, 44].includes(profile)) {
    if (from.readGolomb() === 3) from.read(1); // chroma_format_idc
    from.readGolomb();
    from.readGolomb();
    from.read(1);
    if (from.read(1)) throw new Error("scaling matrices in the encoder's H.264");
  }
  from.readGolomb(); // log2_max_frame_num
  const order = from.readGolomb();
  if (order === 0) from.readGolomb();
  else if (order === 1) {
    from.read(1);
    from.readGolomb();
    from.readGolomb();
    for (let left = from.readGolomb(); left > 0; left--) from.readGolomb();
  }
  from.readGolomb(); // reference frames
  from.read(1);
  from.readGolomb(); // width
  from.readGolomb(); // height
  if (!from.read(1)) from.read(1); // frames only
  from.read(1);
  if (from.read(1)) for (let side = 0; side < 4; side++) from.readGolomb(); // cropping
}

/** Copies aspect ratio and overscan, and skips the colour description that follows them. */
function copyToColours(from, out) {
  from.vui = true;
  const start = from.at;
  if (from.read(1) && from.read(8) === 255) from.read(32);
  if (from.read(1)) from.read(1);
  out.bits.push(...from.bits.slice(start, from.at));
  if (from.read(1)) {
    from.read(4);
    if (from.read(1)) from.read(24);
  }
}

// In a NAL unit, a byte of value 3 is inserted after two zero bytes if the next byte is at most 3.
const unescaped = (nal) => nal.filter((byte, i) => !(byte === 3 && i > 1 && !nal[i - 1] && !nal[i - 2]));

function escaped(bytes) {
  const out = [];
  for (const byte of bytes) {
    if (byte <= 3 && out.at(-1) === 0 && out.at(-2) === 0) out.push(3);
    out.push(byte);
  }
  return Uint8Array.from(out);
}
