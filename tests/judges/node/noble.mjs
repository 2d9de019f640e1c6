// Judges that nobody here wrote: @noble/post-quantum verifies ML-DSA-44, @noble/curves Ed25519.
// They know no notes: the lines are read and the signed messages built here, from C2SP's
// signed-note and tlog-cosignature alone.
import { createHash } from "node:crypto";
import { ed25519 } from "@noble/curves/ed25519.js";
import { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";
import { each, Refused } from "./answer.mjs";

const ED25519_COSIGNATURE = 4;
const ML_DSA_44_COSIGNATURE = 6;

each({
  cosignature: (asked) =>
    verify(asked, ED25519_COSIGNATURE, 32, 64, ed25519.verify, (key, time, text) =>
      Buffer.concat([Buffer.from(`cosignature/v1\ntime ${time}\n`), text])),
  "ml-dsa": (asked) =>
    verify(asked, ML_DSA_44_COSIGNATURE, 1312, 2420, ml_dsa44.verify, (key, time, text) => {
      const [origin, size, root] = text.toString("utf-8").split("\n");
      return Buffer.concat([
        Buffer.from("subtree/v1\n\0"), short(key.name), u64(time), short(origin),
        u64(0n), u64(BigInt(size)), Buffer.from(root, "base64"),
      ]);
    }),
});

function verify(asked, type, keyBytes, signatureBytes, verifies, message) {
  const key = readKey(asked.Vkey);
  if (key.type !== type || key.public.length !== keyBytes) throw new Refused("not such a key");
  const note = Buffer.from(asked.Note, "base64");
  const blank = note.lastIndexOf("\n\n");
  if (blank < 0) throw new Refused("no blank line");
  const text = note.subarray(0, blank + 1);
  if (text.toString("utf-8").split("\n")[0] !== asked.Origin) throw new Refused("another log");
  const signature = signatureOf(note.subarray(blank + 2).toString("utf-8"), key);
  if (signature.length !== 8 + signatureBytes) throw new Refused(`${signature.length} bytes`);
  const signed = message(key, signature.readBigUInt64BE(), text);
  if (!verifies(signature.subarray(8), signed, key.public)) throw new Refused("wrong signature");
}

function readKey(vkey) {
  const [, name, id, encoded] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey) ?? [];
  if (name === undefined) throw new Refused("not a vkey");
  const typed = Buffer.from(encoded, "base64");
  const hash = createHash("sha256").update(`${name}\n`).update(typed).digest();
  if (hash.subarray(0, 4).toString("hex") !== id) throw new Refused("key id of another key");
  return { name, id, type: typed[0], public: typed.subarray(1) };
}

function signatureOf(lines, key) {
  for (const line of lines.split("\n")) {
    const [dash, name, encoded] = line.split(" ");
    const signature = Buffer.from(encoded ?? "", "base64");
    if (dash === "\u2014" && name === key.name && signature.toString("hex", 0, 4) === key.id) {
      return signature.subarray(4);
    }
  }
  throw new Refused("no line of that key");
}

function short(text) {
  const encoded = Buffer.from(text, "utf-8");
  return Buffer.concat([Buffer.from([encoded.length]), encoded]);
}

function u64(value) {
  const encoded = Buffer.alloc(8);
  encoded.writeBigUInt64BE(value);
  return encoded;
}
