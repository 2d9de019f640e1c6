// What the examinations of certificates and of destruction certificates have in common
// (notary/examination.py, notary/entered.py).

import { Broken, Malformed, Unreadable, UnsupportedFormat, Unverifiable } from "./errors.js";
import { checkInclusion } from "./merkle.js";
import { openCheckpoint } from "./note.js";
import { NONE, meetPolicy } from "./policy.js";
import { Checks, only } from "./verdict.js";

export class Examination extends Checks {
  /** What `parse` makes of the bytes. */
  format(parse, data) {
    try {
      const parsed = parse(data);
      this.pass("certificate_format");
      return parsed;
    } catch (error) {
      only(error, Unreadable, UnsupportedFormat);
      const newer = error instanceof UnsupportedFormat;
      const code = newer ? "unsupported_version" : "certificate_unreadable";
      throw this.leave("certificate_format", code, error.message);
    }
  }

  /** The signed text of the entry's checkpoint, which is of the log `origin` and holds the leaf;
   *  `paper` says the rest in messages. */
  entered(entry, { origin, keys, leaf, paper }) {
    let opened;
    try {
      opened = openCheckpoint(entry.checkpoint, keys);
      const { origin: its, size } = opened.checkpoint;
      if (its !== origin || size !== BigInt(entry.size)) {
        throw new Broken(
          `checkpoint is of '${its}' at size ${size}, ${paper} says '${origin}' at ${entry.size}`,
        );
      }
    } catch (error) {
      if (error instanceof Unverifiable) throw this.leave("checkpoint", "unknown_key", error.message);
      throw this.fail("checkpoint", "checkpoint_invalid", only(error, Malformed, Broken));
    }
    this.pass("checkpoint", `${opened.signatures} signatures`);
    try {
      const { index, size, inclusionProof: proof } = entry;
      checkInclusion({ index, size, leaf, proof, root: opened.checkpoint.root });
    } catch (error) {
      throw this.fail("inclusion", "inclusion_proof_invalid", only(error, Broken));
    }
    this.pass("inclusion", `leaf ${entry.index} of ${entry.size}`);
    return opened.text;
  }

  /** The quorum that the trust file asks for, if it asks for one. */
  witnesses(checkpoint, policy) {
    if (policy === null || policy.quorum === NONE) return;
    try {
      this.pass("witnesses", meetPolicy(policy, checkpoint).join(", "));
    } catch (error) {
      if (error instanceof Broken) throw this.fail("witnesses", "checkpoint_invalid", error);
      only(error, Unverifiable);
      throw this.leave("witnesses", "witness_quorum_missing", error.message);
    }
  }
}
