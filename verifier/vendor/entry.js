// What of the vendored libraries the verifier uses; `npm run build` makes vendor.js of it.
export { ed25519 } from "@noble/curves/ed25519.js";
export { p256, p384, p521 } from "@noble/curves/nist.js";
export { sha1 } from "@noble/hashes/legacy.js";
export { sha224, sha256, sha384, sha512 } from "@noble/hashes/sha2.js";
export { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";
export { inflateSync, unzlibSync } from "fflate";
export { createSHA256, createSM3 } from "hash-wasm";
export { parse as parseToml } from "smol-toml";
