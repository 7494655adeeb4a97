// What the networks, the pictures and the page agree on.

export const Z_DIM = 100; // the length of a latent
export const SIDES = [32, 64]; // of a picture; each learns from its own set
export const SMALL = 16; // the side of a small picture, the finest that a code says
