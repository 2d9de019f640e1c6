// A certificate and the bytes in hand → checks → a verdict: the checks of notary/verify.py, in
// its order, with its codes. No network, no clock, no files.

import { b64url, equal, hex, sha256, utf8 } from "./bytes.js";
import { parseCertificate } from "./certificate.js";
import { compare, registeredContent } from "./comparing.js";
import { Broken, Malformed, Unverifiable } from "./errors.js";
import { Examination } from "./examination.js";
import { leafHash } from "./merkle.js";
import { parseVkey } from "./note.js";
import { meetPolicy, parsePolicy } from "./policy.js";
import { EVIDENCE, disclosed, parseRecord } from "./record.js";
import { EVIDENCE_TYPE, checkStatement, parseStatement } from "./statement.js";
import { ed25519Holds } from "./signatures.js";
import { EXIT_STATUS, Stop, only } from "./verdict.js";
import { judgeTimes, knownDigests } from "./verify_time.js";

/** Judges the bytes of a `certificate.json` (null where there are none) and, if given, a document
 *  {sha256 in hex, size, name, isCertificate, near} against it. There is always a report. */
export function verify(data, document, trust) {
  const examination = new OfCertificate(trust);
  let [facts, verdict, code] = [null, null, null];
  try {
    const certificate = examination.format(parseCertificate, data ?? new Uint8Array());
    facts = examination.examine(certificate);
    [verdict, code] = examination.withTime(compare(facts.sections, document, examination));
  } catch (stop) {
    if (!(stop instanceof Stop)) throw stop;
    ({ verdict, code } = stop);
    if (verdict === "not_genuine") facts = null;
  }
  return {
    verdict, code, exitStatus: EXIT_STATUS[verdict], checks: examination.made,
    trustedKeys: trust !== null, facts, document,
  };
}

class OfCertificate extends Examination {
  constructor(trust) {
    super();
    this.trust = trust;
    this.unstamped = true;
    this.timeUndecided = null;
  }

  /** The verdict, once it is known what the timestamps proved. */
  withTime([verdict, code]) {
    if (verdict !== "confirmed") return [verdict, code];
    if (this.timeUndecided !== null) return ["undecided", this.timeUndecided];
    return [verdict, this.unstamped ? "match_not_yet_anchored" : code];
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
    this.withheld(certificate, record, sections);
    return [sections, record];
  }

  /** What is left out stands in the record by its digest: it can only be shown unchanged. */
  withheld({ disclosures, withheld }, record, sections) {
    const shown = new Set(disclosures.map((each) => b64url(sha256(utf8(each)))));
    const hidden = new Set(record.get("_sd").filter((digest) => !shown.has(digest)));
    const names = withheld.map(({ section }) => section);
    const listed = withheld.map(({ digest }) => b64url(digest));
    const differ = (texts) => new Set(texts).size === texts.length;
    const whole = differ(names) && differ(listed) && listed.length === hidden.size &&
      listed.every((digest) => hidden.has(digest)) && !names.some((name) => sections.has(name));
    if (names.length && !whole) {
      const error = new Broken(
        `certificate withholds ${JSON.stringify(names)} by ${JSON.stringify(listed.sort())}, the ` +
          `record leaves ${JSON.stringify([...hidden].sort())}`,
      );
      throw this.fail("withheld", "certificate_altered", error);
    }
    if (hidden.size) {
      const named = names.join(", ") || `${hidden.size} not named`;
      this.pass("withheld", `${named}: withheld, provably unchanged`);
    }
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
    const text = this.entered(entry, { origin: entry.origin, keys, leaf, paper: "certificate" });
    this.witnesses(entry.checkpoint, this.trust?.witnessPolicy ?? null);
    this.ownPolicy(entry);
    return text;
  }

  /** The policy that the certificate says its cosignatures meet, if it says one. */
  ownPolicy({ witnessPolicy, checkpoint }) {
    if (witnessPolicy === null) return;
    try {
      this.pass("witness_policy", meetPolicy(parsePolicy(witnessPolicy), checkpoint).join(", "));
    } catch (error) {
      only(error, Malformed, Broken, Unverifiable);
      throw this.fail("witness_policy", "certificate_altered", error);
    }
  }

  timestamps(certificate, text, sections) {
    const digests = knownDigests(sections.get("content"), registeredContent(sections));
    const found = judgeTimes(certificate, { text, digests, trust: this.trust, checks: this });
    if (found.broken !== null) throw new Stop("not_genuine", found.broken);
    [this.unstamped, this.timeUndecided] = [found.unstamped, found.undecided];
  }
}
