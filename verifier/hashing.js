// Digests of a file of any size, piece by piece in WebAssembly: WebCrypto takes only whole files,
// and on such is no faster once the reading is counted.

import { createSHA256, createSM3 } from "./vendor/vendor.js";

const PIECE = 8 << 20;
const AHEAD = 2;

/** SHA-256 in hex; `progress` is told how many bytes are done. */
export async function sha256Of(file, progress) {
  return streamed(await createSHA256(), file, progress);
}

export async function sm3Of(file, progress) {
  return streamed(await createSM3(), file, progress);
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

/** The file's bytes; the next pieces are being read while one is worked on. */
async function* pieces(file) {
  const coming = [];
  let at = 0;
  const read = () => {
    if (at >= file.size) return;
    coming.push(file.slice(at, at + PIECE).arrayBuffer());
    at += PIECE;
  };
  for (let n = 0; n < AHEAD; n += 1) read();
  while (coming.length) {
    const piece = new Uint8Array(await coming.shift());
    read();
    yield piece;
  }
}
