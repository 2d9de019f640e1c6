// A destruction certificate → checks → a verdict (notary/verify_destruction.py). It carries no keys:
// without a trust file nothing of it can be decided.

import { equal, hex, sha256, utf8 } from "./bytes.js";
import { parseDestruction } from "./destruction.js";
import { Broken, Malformed } from "./errors.js";
import { Examination } from "./examination.js";
import { leafHash } from "./merkle.js";
import { CUSTODY, disclosed, parseRecord } from "./record.js";
import { canonicalText } from "./json.js";
import { ed25519Holds } from "./signatures.js";
import { CUSTODY_TYPE, checkStatement, parseStatement } from "./statement.js";
import { EXIT_STATUS, Stop, only } from "./verdict.js";

/** How every one begins, its names being sorted. */
export const DESTRUCTION = utf8('{"approved":');

/** Judges the bytes of a `destruction.json`. There is always a report; what was registered is no
 *  part of it. */
export function verifyDestruction(data, trust) {
  const examination = new OfDestruction();
  let [verdict, code] = ["confirmed", "disposal_confirmed"];
  try {
    examination.examine(examination.format(parseDestruction, data), trust);
  } catch (stop) {
    if (!(stop instanceof Stop)) throw stop;
    ({ verdict, code } = stop);
  }
  return {
    verdict, code, exitStatus: EXIT_STATUS[verdict], checks: examination.made,
    trustedKeys: trust !== null, facts: null, document: null,
  };
}

class OfDestruction extends Examination {
  examine(destruction, trust) {
    this.keys(destruction, trust);
    this.signature(destruction, trust);
    this.record(destruction);
    this.statement(destruction, trust);
    const { entry } = destruction;
    const leaf = leafHash(entry.statement);
    this.entered(entry, { origin: trust.origin, keys: trust.logKeys, leaf, paper: "the certificate" });
    this.witnesses(entry.checkpoint, trust.witnessPolicy);
  }

  keys({ signature, issuer }, trust) {
    if (trust === null) throw this.leave("log_keys", "unknown_key", "no trust file was given");
    const known = trust.certificateKeys.some((key) => equal(key.kid, signature.kid));
    if (issuer.origin !== trust.origin || !known) {
      throw this.leave(
        "log_keys", "unknown_key",
        `destruction certificate of log '${issuer.origin}' signed by ${hex(signature.kid)}; the ` +
          `trust file knows log '${trust.origin}' and its keys`,
      );
    }
    this.pass("log_keys");
  }

  signature({ disposalId, signature, signedBytes }, trust) {
    const signer = trust.certificateKeys.find((key) => equal(key.kid, signature.kid));
    if (!ed25519Holds(signature.value, signedBytes, signer.publicKey)) {
      const why = `destruction certificate ${disposalId} is not what key ${hex(signer.kid)} signed`;
      throw this.fail("certificate_signature", "signature_invalid", new Broken(why));
    }
    this.pass("certificate_signature");
  }

  /** The event says what the certificate says. */
  record(destruction) {
    const { entry, requested, approved, reason, basis, destroyed } = destruction;
    try {
      const record = parseRecord(entry.record);
      if (record.get("type") !== CUSTODY) {
        throw new Broken(`record is of type '${record.get("type")}', not '${CUSTODY}'`);
      }
      checkSaid(destruction, record, disclosed(record, entry.disclosures));
    } catch (error) {
      throw this.fail("record", "record_mismatch", only(error, Malformed, Broken));
    }
    this.pass(
      "record",
      `deposit ${destruction.depositId}, disposal ${destruction.disposalId}: asked for by ` +
        `${quoted(requested.by)} on ${requested.at}, approved by ${quoted(approved.by)} on ` +
        `${approved.at}; ${quoted(reason)}, ${quoted(basis)}; object ${destroyed.object}`,
    );
    this.pass("disclosures");
  }

  statement({ issuer, entry }, trust) {
    try {
      const statement = parseStatement(entry.statement);
      const digest = hex(sha256(utf8(entry.record)));
      for (const [what, ours, said] of [
        ["over", digest, hex(statement.payload)],
        ["by", issuer.origin, statement.issuer],
        ["about", CUSTODY_TYPE, statement.preimageType],
      ]) {
        if (ours !== said) throw new Broken(`statement is ${what} '${said}', not '${ours}'`);
      }
      const key = trust.statementKeys.find((each) => equal(each.kid, statement.kid));
      if (key === undefined) {
        throw this.leave("statement", "unknown_key", `signed by key ${hex(statement.kid)}`);
      }
      checkStatement(statement, key.publicKey);
    } catch (error) {
      if (error instanceof Stop) throw error;
      throw this.fail("statement", "statement_invalid", only(error, Malformed, Broken));
    }
    this.pass("statement");
  }
}

/** Throws Broken with both sides. */
function checkSaid(destruction, record, sections) {
  const { depositId, disposalId, requested, approved, reason, basis } = destruction;
  const ours = {
    act: new Map([["kind", "disposed"]]),
    actor: new Map([["account", approved.by]]),
    terms: new Map(Object.entries(
      { reason, basis, requested_by: requested.by, requested_at: requested.at })),
  };
  for (const [name, value] of Object.entries(ours)) {
    const [found, wanted] = [sections.get(name) ?? null, value].map(canonicalText);
    if (found !== wanted) {
      throw new Broken(`section '${name}' of the event is ${found}, the certificate says ${wanted}`);
    }
  }
  const about = sections.get("about");
  const said = (name) => (about instanceof Map ? about.get(name) : undefined);
  if (said("deposit") !== depositId || said("subject") !== disposalId) {
    throw new Broken(
      `the event is about ${canonicalText(about ?? null)}, the certificate about deposit ` +
        `'${depositId}' and disposal '${disposalId}'`,
    );
  }
  if (record.get("received_at") !== approved.at) {
    throw new Broken(
      `the event is of ${record.get("received_at")}, the certificate says ${approved.at}`,
    );
  }
}

const ESCAPES = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** The text as the details of both verifiers quote it. */
function quoted(text) {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inside = text.replace(/[\\'\p{C}\p{Z}]/gu, (each) => {
    if (each === " " || (each === "'" && mark === '"')) return each;
    if (each === "'") return "\\'";
    if (ESCAPES[each] !== undefined) return ESCAPES[each];
    const point = each.codePointAt(0).toString(16);
    const [letter, width] = point.length <= 2 ? ["x", 2] : point.length <= 4 ? ["u", 4] : ["U", 8];
    return `\\${letter}${point.padStart(width, "0")}`;
  });
  return mark + inside + mark;
}
