// Digests of a file of any size. WebCrypto is the fastest and takes whole files only; what is
// larger than WHOLE goes through WebAssembly, piece by piece.

import { hex } from "./bytes.js";
import { createSHA256, createSM3 } from "./vendor/vendor.js";

const PIECE = 4 << 20;
export const WHOLE = 256 << 20;

/** SHA-256 in hex; `progress` is told how many bytes are done. */
export async function sha256Of(file, progress) {
  if (file.size <= WHOLE && globalThis.crypto?.subtle) return wholeSha256(file, progress);
  return streamed(await createSHA256(), file, progress);
}

export async function sm3Of(file, progress) {
  return streamed(await createSM3(), file, progress);
}

async function wholeSha256(file, progress) {
  const whole = new Uint8Array(file.size);
  let at = 0;
  for await (const piece of pieces(file)) {
    whole.set(piece, at);
    at += piece.length;
    progress(at);
  }
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", whole)));
}

async function streamed(hash, file, progress) {
  hash.init();
  let at = 0;
  for await (const piece of pieces(file)) {
    hash.update(piece);
    at += piece.length;
    progress(at);
  }
  return hash.digest("hex");
}

/** The file's bytes; the next piece is being read while one is worked on. */
async function* pieces(file) {
  const read = (at) => (at < file.size ? file.slice(at, at + PIECE).arrayBuffer() : null);
  let next = read(0);
  for (let at = PIECE; next !== null; at += PIECE) {
    const piece = new Uint8Array(await next);
    next = read(at);
    yield piece;
  }
}
