// Signatures, each as a yes or no that no hostile bytes can turn into an exception.

import { ed25519, ml_dsa44, p256, p384, p521, sha1, sha224, sha256, sha384, sha512 } from "./vendor/vendor.js";
import { concat, equal, fromHex, toBigInt } from "./bytes.js";

export const HASHES = { sha1, sha224, sha256, sha384, sha512 };
const CURVES = { secp256r1: p256, secp384r1: p384, secp521r1: p521 };
// RFC 8017 section 9.2, notes: DigestInfo up to the digest.
const DIGEST_INFO = {
  sha1: fromHex("3021300906052b0e03021a05000414"),
  sha224: fromHex("302d300d06096086480165030402040500041c"),
  sha256: fromHex("3031300d060960864801650304020105000420"),
  sha384: fromHex("3041300d060960864801650304020205000430"),
  sha512: fromHex("3051300d060960864801650304020305000440"),
};

function holds(test) {
  try {
    return test();
  } catch {
    return false;  // a point off its curve, a number out of range: no signature of this key
  }
}

/** RFC 8032, without the leniency of ZIP 215. */
export function ed25519Holds(signature, message, publicKey) {
  return holds(() => ed25519.verify(signature, message, publicKey, { zip215: false }));
}

/** FIPS 204 with an empty context. */
export function mlDsa44Holds(signature, message, publicKey) {
  return holds(() => ml_dsa44.verify(signature, message, publicKey));
}

/** `r` and `s` are BigInts, `point` is SEC 1, `digest` the hash of the message. */
export function ecdsaHolds(curve, point, { r, s }, digest) {
  const of = CURVES[curve];
  return holds(() => {
    const size = of.Point.Fn.BYTES;
    const signature = concat(toBytes(r, size), toBytes(s, size));
    return of.verify(signature, digest, point, { prehash: false, lowS: false });
  });
}

export function isPoint(curve, point) {
  return holds(() => CURVES[curve].Point.fromBytes(point) !== null);
}

/** RFC 8017 section 8.2.2. */
export function rsaHolds(key, signature, hash, digest) {
  const encoded = opened(key, signature);
  if (encoded === null) return false;
  const info = concat(DIGEST_INFO[hash], digest);
  const padding = encoded.length - info.length - 3;
  if (padding < 8) return false;
  return equal(encoded, concat([0, 1], new Uint8Array(padding).fill(255), [0], info));
}

/** RFC 8017 sections 8.1.2 and 9.1.2, MGF1 and salt by the same hash. */
export function pssHolds(key, signature, hash, digest, saltBytes) {
  const bits = key.modulus.toString(2).length - 1;
  let encoded = opened(key, signature);
  if (encoded === null) return false;
  const size = Math.ceil(bits / 8);
  if (encoded.length > size) {
    if (encoded[0] !== 0) return false;
    encoded = encoded.subarray(1);
  }
  const digestBytes = digest.length;
  const maskedBytes = size - digestBytes - 1;
  if (maskedBytes < saltBytes + 1 || encoded[size - 1] !== 0xbc) return false;
  const unused = 0xff >> (8 * size - bits);
  if (encoded[0] & ~unused) return false;
  const expected = encoded.subarray(maskedBytes, size - 1);
  const mask = mgf1(hash, expected, maskedBytes);
  const block = encoded.subarray(0, maskedBytes).map((byte, at) => byte ^ mask[at]);
  block[0] &= unused;
  const salt = block.subarray(maskedBytes - saltBytes);
  const zeros = block.subarray(0, maskedBytes - saltBytes - 1);
  if (zeros.some(Boolean) || block[maskedBytes - saltBytes - 1] !== 1) return false;
  return equal(expected, HASHES[hash](concat(new Uint8Array(8), digest, salt)));
}

function mgf1(hash, seed, length) {
  const blocks = [];
  for (let at = 0; at * HASHES[hash].outputLen < length; at += 1) {
    blocks.push(HASHES[hash](concat(seed, toBytes(BigInt(at), 4))));
  }
  return concat(...blocks).subarray(0, length);
}

/** What the signature is of, as long as the modulus; null for none of this key's. */
function opened({ modulus, exponent }, signature) {
  const size = Math.ceil(modulus.toString(16).length / 2);
  const value = toBigInt(signature);
  if (signature.length !== size || value >= modulus) return null;
  let [result, base] = [1n, value];
  for (let left = exponent; left; left >>= 1n) {
    if (left & 1n) result = (result * base) % modulus;
    base = (base * base) % modulus;
  }
  return toBytes(result, size);
}

function toBytes(value, size) {
  const text = value.toString(16);
  if (text.length > 2 * size) throw new RangeError("a number longer than its place");
  return fromHex(text.padStart(2 * size, "0"));
}
