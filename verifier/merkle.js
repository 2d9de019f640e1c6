// RFC 6962 section 2.1: leaves, and what an inclusion proof leads to.

import { concat, equal, hex, sha256 } from "./bytes.js";
import { Broken } from "./errors.js";

export function leafHash(entry) {
  return sha256(concat([0], entry));
}

function nodeHash(left, right) {
  return sha256(concat([1], left, right));
}

/** RFC 9162 section 2.1.3.2. The proof's length is checked first: one leaf, one accepted proof. */
export function checkInclusion({ index, size, leaf, proof, root }) {
  let [fn, sn] = [BigInt(index), BigInt(size) - 1n];
  const expected = proofLength(fn, sn);
  if (proof.length !== expected) {
    throw new Broken(
      `inclusion proof of ${proof.length} hashes, but index ${index} of size ${size} has ${expected}`,
    );
  }
  let computed = leaf;
  for (const sibling of proof) {
    if (fn & 1n || fn === sn) {
      computed = nodeHash(sibling, computed);
      while (fn && !(fn & 1n)) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      computed = nodeHash(computed, sibling);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  if (!equal(computed, root)) {
    throw new Broken(
      `root hash mismatch at size ${size}: checkpoint has ${hex(root)}, ` +
        `proof of index ${index} gives ${hex(computed)}`,
    );
  }
}

function proofLength(index, last) {
  const apart = index ^ last;
  const inner = apart ? apart.toString(2).length : 0;
  const above = (index >> BigInt(inner)).toString(2).replaceAll("0", "");
  return inner + above.length;
}
