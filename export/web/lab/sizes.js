// What the networks, the pictures and the page agree on.

export const Z_DIM = 100; // the length of a latent
export const SIDE = 32; // of a picture
