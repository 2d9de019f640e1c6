// A certificate and the bytes in hand → checks → a verdict: the checks of notary/verify.py, in
// its order, with its codes. No network, no clock, no files.

import { equal, fromHex, hex, sha256, utf8 } from "./bytes.js";
import { parseCertificate } from "./certificate.js";
import {
  Broken, Malformed, Unreadable, UnsupportedFormat, Unverifiable,
} from "./errors.js";
import { checkInclusion, leafHash } from "./merkle.js";
import { openCheckpoint, openNote, parseNote, parseVkey } from "./note.js";
import { NONE, checkPolicy, parsePolicy } from "./policy.js";
import { EVIDENCE, disclosed, parseRecord } from "./record.js";
import { ed25519Holds } from "./signatures.js";
import { EVIDENCE_TYPE, checkStatement, parseStatement } from "./statement.js";
import { judgeToken } from "./tsp.js";

const EMPTY_SHA256 = hex(sha256(new Uint8Array()));
export const EXIT_STATUS = {
  confirmed: 0, not_this_file: 1, not_genuine: 1, undecided: 2, superseded: 3,
};

/** Ends the examination with a verdict on the certificate itself. */
class Stop extends Error {
  constructor(verdict, code) {
    super(code);
    this.verdict = verdict;
    this.code = code;
  }
}

/** Judges the bytes of a `certificate.json` (null where there are none) and, if given, a document
 *  {sha256 in hex, size, isCertificate} against it. Whatever the bytes are, there is a report. */
export function verify(data, document, trust) {
  const examination = new Examination(trust);
  let [facts, verdict, code] = [null, null, null];
  try {
    const certificate = examination.read(data);
    facts = examination.examine(certificate);
    [verdict, code] = examination.judgeDocument(facts, document);
  } catch (stop) {
    if (!(stop instanceof Stop)) throw stop;
    ({ verdict, code } = stop);
    if (verdict === "not_genuine") facts = null;
  }
  return {
    verdict, code, exitStatus: EXIT_STATUS[verdict], checks: examination.checks,
    trustedKeys: trust !== null, facts, document,
  };
}

/** {sha256, size} of the registered original; null where it is withheld. */
export function registeredContent(sections) {
  const content = sections.get("content");
  if (!(content instanceof Map) || !(content.get("digests") instanceof Map)) return null;
  const [found, size] = [content.get("digests").get("sha-256"), content.get("size")];
  if (typeof found !== "string" || !/^[0-9a-f]{64}$/.test(found)) return null;
  return typeof size === "number" ? { sha256: found, size } : null;
}

/** Whether `error` is of one of the kinds; any other is passed on. */
function only(error, ...kinds) {
  if (!kinds.some((kind) => error instanceof kind)) throw error;
  return error;
}

class Examination {
  constructor(trust) {
    this.trust = trust;
    this.checks = [];
    this.unstamped = true;
    this.timeRefused = false;
  }

  pass(name, detail = "") {
    this.checks.push({ name, status: "passed", code: null, detail });
  }

  fail(name, code, error) {
    this.checks.push({ name, status: "failed", code, detail: error.message });
    return new Stop("not_genuine", code);
  }

  leave(name, code, detail) {
    this.checks.push({ name, status: "not_made", code, detail });
    return new Stop("undecided", code);
  }

  read(data) {
    try {
      const certificate = parseCertificate(data ?? new Uint8Array());
      this.pass("certificate_format");
      return certificate;
    } catch (error) {
      only(error, Unreadable, UnsupportedFormat);
      const newer = error instanceof UnsupportedFormat;
      const code = newer ? "unsupported_version" : "certificate_unreadable";
      throw this.leave("certificate_format", code, error.message);
    }
  }

  examine(certificate) {
    this.signature(certificate);
    const [logKeys, statementKeys] = this.keys(certificate);
    const [sections, record] = this.record(certificate);
    const leaf = this.statement(certificate, statementKeys);
    const text = this.log(certificate, logKeys, leaf);
    this.timestamps(certificate, text, sections);
    const { times, log } = certificate;
    return {
      certificateId: certificate.certificateId,
      issuer: certificate.issuer.name,
      origin: log.origin,
      depositId: record.get("id"),
      sections,
      index: log.index,
      size: log.size,
      receivedAt: times.receivedAt,
      registeredAt: times.registeredAt,
      timestampedAt: times.timestampedAt,
      issuedAt: times.issuedAt,
      selfOperatedOnly: certificate.timestamps.every((stamp) => stamp.selfOperated),
    };
  }

  signature({ signature, keys, signedBytes, certificateId }) {
    const signer = keys.certificate.find((key) => equal(key.kid, signature.kid));
    const kid = hex(signature.kid);
    const why = signer === undefined
      ? `certificate is signed by key ${kid}, which it does not carry`
      : `certificate ${certificateId} is not what key ${kid} signed`;
    const holds =
      signer !== undefined && ed25519Holds(signature.value, signedBytes, signer.publicKey);
    if (!holds) throw this.fail("certificate_signature", "signature_invalid", new Broken(why));
    this.pass("certificate_signature");
  }

  /** The keys to go by: the trust file's, or the embedded ones, which is then said. */
  keys(certificate) {
    let embedded;
    try {
      embedded = certificate.keys.log.map(parseVkey);
    } catch (error) {
      throw this.fail("log_keys", "certificate_altered", only(error, Malformed));
    }
    if (this.trust === null) {
      this.leave("log_keys", "embedded_keys", "no trust file was given");
      return [embedded, certificate.keys.statement];
    }
    const { origin, certificateKeys, logKeys, statementKeys } = this.trust;
    const signer = certificate.signature.kid;
    const known =
      certificate.log.origin === origin && certificate.issuer.origin === origin &&
      certificateKeys.some((key) => equal(key.kid, signer));
    if (!known) {
      throw this.leave(
        "log_keys", "unknown_key",
        `certificate of log '${certificate.log.origin}' signed by ${hex(signer)}; the trust file ` +
          `knows log '${origin}' and its keys`,
      );
    }
    this.pass("log_keys");
    return [logKeys, statementKeys];
  }

  record(certificate) {
    let [sections, record] = [null, null];
    try {
      record = parseRecord(certificate.record);
      if (record.get("type") !== EVIDENCE) {
        throw new Broken(`record is of type '${record.get("type")}', not '${EVIDENCE}'`);
      }
      const { receivedAt } = certificate.times;
      if (record.get("received_at") !== receivedAt) {
        throw new Broken(
          `record was received at ${record.get("received_at")}, certificate says ${receivedAt}`,
        );
      }
      sections = disclosed(record, certificate.disclosures);
    } catch (error) {
      throw this.fail("record", "record_mismatch", only(error, Malformed, Broken));
    }
    this.pass("record");
    this.pass("disclosures", [...sections.keys()].join(", "));
    return [sections, record];
  }

  /** The leaf hash. */
  statement(certificate, keys) {
    try {
      const statement = parseStatement(certificate.statement);
      const digest = sha256(utf8(certificate.record));
      if (!equal(statement.payload, digest)) {
        throw new Broken(`statement is over ${hex(statement.payload)}, record is ${hex(digest)}`);
      }
      if (statement.issuer !== certificate.log.origin) {
        throw new Broken(
          `statement is by '${statement.issuer}', log is '${certificate.log.origin}'`,
        );
      }
      if (statement.preimageType !== EVIDENCE_TYPE) {
        throw new Broken(`statement is about '${statement.preimageType}'`);
      }
      const key = keys.find((each) => equal(each.kid, statement.kid));
      if (key === undefined) {
        throw this.leave("statement", "unknown_key", `signed by key ${hex(statement.kid)}`);
      }
      checkStatement(statement, key.publicKey);
    } catch (error) {
      if (error instanceof Stop) throw error;
      throw this.fail("statement", "statement_invalid", only(error, Malformed, Broken));
    }
    this.pass("statement");
    return leafHash(certificate.statement);
  }

  /** The signed text of the checkpoint. */
  log({ log: entry }, keys, leaf) {
    let opened;
    try {
      opened = openCheckpoint(entry.checkpoint, keys);
      const { origin, size } = opened.checkpoint;
      if (origin !== entry.origin || size !== BigInt(entry.size)) {
        throw new Broken(
          `checkpoint is of '${origin}' at size ${size}, certificate says '${entry.origin}' at ` +
            `${entry.size}`,
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
    this.witnesses(entry.checkpoint);
    this.ownPolicy(entry);
    return opened.text;
  }

  /** The quorum that the trust file asks for, if it asks for one. */
  witnesses(checkpoint) {
    const policy = this.trust?.witnessPolicy ?? null;
    if (policy === null || policy.quorum === NONE) return;
    try {
      this.pass("witnesses", meet(policy, checkpoint).join(", "));
    } catch (error) {
      if (error instanceof Broken) throw this.fail("witnesses", "checkpoint_invalid", error);
      only(error, Unverifiable);
      throw this.leave("witnesses", "witness_quorum_missing", error.message);
    }
  }

  /** The policy that the certificate says its cosignatures meet, if it says one. */
  ownPolicy({ witnessPolicy, checkpoint }) {
    if (witnessPolicy === null) return;
    try {
      this.pass("witness_policy", meet(parsePolicy(witnessPolicy), checkpoint).join(", "));
    } catch (error) {
      only(error, Malformed, Broken, Unverifiable);
      throw this.fail("witness_policy", "certificate_altered", error);
    }
  }

  timestamps(certificate, text, sections) {
    if (!certificate.timestamps.length) {
      this.leave("timestamp", "timestamp_none", "the certificate holds no token yet");
    }
    const imprints = { checkpoint: sha256(utf8(text)) };
    const content = registeredContent(sections);
    if (content !== null) imprints.original = fromHex(content.sha256);
    const proved = [];
    for (const stamp of certificate.timestamps) {
      const imprint = imprints[stamp.covers];
      if (imprint === undefined) {
        this.leave(
          "timestamp", "proof_missing",
          `section content is withheld, so the token of ${stamp.authority} over the original was ` +
            "not compared",
        );
        continue;
      }
      const moment = this.timestamp(stamp, imprint);
      if (moment !== null && stamp.covers === "checkpoint") proved.push(moment);
    }
    // A token over the original alone says nothing about when the entry was made.
    const covering = certificate.timestamps.some((stamp) => stamp.covers === "checkpoint");
    this.unstamped = !covering;
    this.timeRefused = covering && !proved.length;
    const said = certificate.times.timestampedAt;
    const first = [...proved].sort()[0];
    const later = proved.length > 0 && (said === null || said > first);
    if (later || (said !== null && this.unstamped)) {
      const error = new Broken(
        `certificate says timestamped at ${said}, its tokens say ${JSON.stringify(proved)}`,
      );
      throw this.fail("timestamp", "certificate_altered", error);
    }
  }

  /** The token's time, or null where no trusted root leads to it. */
  timestamp({ covers, authority, response, chain }, imprint) {
    const roots = this.trust === null ? chain.slice(-1) : this.trust.timestampRoots;
    try {
      const moment = judgeToken(response, imprint, roots, chain);
      this.pass("timestamp", `${covers}, ${authority}, ${moment}`);
      return moment;
    } catch (error) {
      if (error instanceof Unverifiable) {
        this.leave("timestamp", "timestamp_untrusted", `${authority}: ${error.message}`);
        return null;
      }
      throw this.fail("timestamp", "timestamp_invalid", only(error, Broken, Malformed));
    }
  }

  judgeDocument(facts, document) {
    const registered = registeredContent(facts.sections);
    if (document === null) {
      this.leave("document_digest", "no_document", "no document was given");
      return ["undecided", "no_document"];
    }
    if (registered === null) {
      this.leave("document_digest", "proof_missing", "section content is withheld");
      return ["undecided", "proof_missing"];
    }
    if (document.sha256 !== registered.sha256) {
      return ["not_this_file", this.difference(document, registered)];
    }
    this.pass("document_digest", `sha-256 ${document.sha256}`);
    if (document.size !== registered.size) {
      // The digest would have to collide; the sizes tell that something is badly wrong.
      const detail = `registered ${registered.size} bytes, got ${document.size}`;
      const check = { name: "document_size", status: "failed", code: "size_mismatch", detail };
      this.checks.push(check);
      return ["not_this_file", "size_mismatch"];
    }
    this.pass("document_size", `${document.size} bytes`);
    if (this.timeRefused) return ["undecided", "timestamp_untrusted"];
    return ["confirmed", this.unstamped ? "match_not_yet_anchored" : "match"];
  }

  difference(document, registered) {
    let code = "digest_mismatch";
    if (document.size === 0 && registered.sha256 !== EMPTY_SHA256) code = "empty_file";
    else if (document.isCertificate) code = "certificate_file_given";
    this.checks.push({
      name: "document_digest", status: "failed", code,
      detail: `registered sha-256 ${registered.sha256}, got ${document.sha256}`,
    });
    const same = document.size === registered.size;
    this.checks.push({
      name: "document_size", status: same ? "passed" : "failed",
      code: same ? null : "size_mismatch",
      detail: `registered ${registered.size} bytes, got ${document.size}`,
    });
    return code;
  }
}

/** The names of the witnesses whose cosignatures meet the policy. */
function meet(policy, checkpoint) {
  const keys = policy.witnesses.map((witness) => witness.key);
  const cosigners = openNote(parseNote(checkpoint), keys);
  checkPolicy(policy, cosigners);
  return cosigners.map((key) => key.name);
}
