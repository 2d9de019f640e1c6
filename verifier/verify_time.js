// What a certificate's tokens and evidence records say about time: checks, and what follows
// (notary/verify_time.py). Times are texts of one form, which sort as the times do.

import { fromHex, hex, sha256, utf8 } from "./bytes.js";
import { Broken, Malformed, Unverifiable } from "./errors.js";
import { parseEvidenceRecord, verifyEvidenceRecord } from "./ers.js";
import { judgeRevocation } from "./revocation.js";
import { parseResponse, verifyToken } from "./tsp.js";
import { only } from "./verdict.js";
import { equalNames, readCertificate } from "./x509.js";

const UNTRUSTED = "timestamp_untrusted";
const REVOKED = "timestamp_revoked";
const TOO_FEW = "timestamp_quorum_missing";

/** {broken, undecided, unstamped}: the code where the certificate is not genuine, the code where its
 *  time could not be decided, whether it claims no outside time. `digests` are the original's by
 *  name (`sha256`, `sha512`), as far as they are known. Writes into `checks`. */
export function judgeTimes(certificate, { text, digests, trust, checks }) {
  const judging = new Judging(certificate, digests, trust, checks);
  judging.tokens(sha256(utf8(text)));
  if (judging.broken === null) {
    judging.claim();
    judging.quorum();
    for (const record of certificate.evidenceRecords) judging.record(record);
  }
  const { broken, undecided } = judging;
  return { broken, undecided, unstamped: certificate.times.timestampedAt === null };
}

class Judging {
  constructor(certificate, digests, trust, checks) {
    Object.assign(this, { certificate, digests, trust, checks });
    [this.broken, this.undecided, this.refused] = [null, null, UNTRUSTED];
    [this.proved, this.claimed, this.authorities] = [[], [], new Set()];
  }

  tokens(checkpoint) {
    const imprints = { checkpoint };
    if (this.digests.sha256) imprints.original = this.digests.sha256;
    if (!this.certificate.timestamps.length) {
      this.checks.leave("timestamp", "timestamp_none", "the certificate holds no token yet");
    }
    for (const stamp of this.certificate.timestamps) {
      if (imprints[stamp.covers] === undefined) {
        this.checks.leave(
          "timestamp", "proof_missing",
          `section content is withheld, so the token of ${stamp.authority} over the original was ` +
            "not compared",
        );
      } else if (this.broken === null) {
        this.token(stamp, imprints[stamp.covers]);
      }
    }
  }

  token(stamp, imprint) {
    const roots = this.trust === null ? stamp.chain.slice(-1) : this.trust.timestampRoots;
    const overCheckpoint = stamp.covers === "checkpoint";
    let token;
    try {
      const given = { imprint, roots, intermediates: stamp.chain };
      token = verifyToken(parseResponse(stamp.response), given);
    } catch (error) {
      if (error instanceof Unverifiable) {
        this.checks.leave("timestamp", UNTRUSTED, `${stamp.authority}: ${error.message}`);
        if (overCheckpoint) this.claimed.push(...ownTime(stamp.response));
      } else {
        this.fail("timestamp", "timestamp_invalid", only(error, Broken, Malformed));
      }
      return;
    }
    this.checks.pass("timestamp", `${stamp.covers}, ${stamp.authority}, ${token.genTime}`);
    if (overCheckpoint) this.claimed.push(token.genTime);
    if (this.stands(stamp, token) && overCheckpoint) {
      this.proved.push(token.genTime);
      this.authorities.add(hex(token.chain[0].subject));
    }
  }

  /** Whether no revocation takes it. A self-operated authority has nobody who says. */
  stands({ authority, selfOperated, revocation }, { chain, genTime }) {
    if (revocation === null && selfOperated) return true;
    const { crls, responses } = revocation ?? { crls: [], responses: [] };
    const { state, code, detail } = judgeRevocation(chain, { at: genTime, crls, responses });
    const said = `${authority}: ${detail}`;
    if (state === "good") this.checks.pass("revocation", said);
    else if (state === "not_checked") this.checks.leave("revocation", code, said);
    else {
      this.checks.fail("revocation", REVOKED, new Broken(said));
      this.refused = REVOKED;
    }
    return state !== "revoked";
  }

  /** The time that the certificate says is the one that its tokens say. */
  claim() {
    const { timestampedAt: said, timestampQuorum: quorum } = this.certificate.times;
    const covering = this.certificate.timestamps.some(({ covers }) => covers === "checkpoint");
    const proved = [...this.proved].sort();
    let wrong;
    if (quorum === null) {
      wrong = proved.length > 0 && (said === null || said > proved[0]);
      wrong ||= said !== null && !covering;
    } else {
      wrong = said !== ([...this.claimed].sort()[quorum - 1] ?? null);
    }
    if (wrong) {
      const detail = `certificate says timestamped at ${said}, its tokens say `;
      this.fail("timestamp", "certificate_altered", new Broken(detail + JSON.stringify(this.proved)));
    } else if (covering && !proved.length) {
      this.undecided = this.refused;
    }
  }

  quorum() {
    const asked = this.trust === null ? 0 : this.trust.timestampQuorum;
    if (!asked) return;
    const found = this.authorities.size;
    const detail = `tokens that hold by ${found} authorities, asked for are ${asked}`;
    if (found >= asked) {
      this.checks.pass("timestamp_quorum", detail);
    } else {
      this.checks.leave("timestamp_quorum", TOO_FEW, detail);
      this.undecided ??= TOO_FEW;
    }
  }

  record({ authority, record, certificates }) {
    if (!this.digests.sha256) {
      this.checks.leave("evidence_record", "proof_missing", "section content is withheld");
      return;
    }
    try {
      const roots = this.trust === null ? ownRoots(certificates) : this.trust.timestampRoots;
      const given = { digests: this.digests, roots, intermediates: certificates };
      const { genTime, tokens, expiresAt } = verifyEvidenceRecord(parseEvidenceRecord(record), given);
      this.checks.pass(
        "evidence_record",
        `${authority}, ${genTime}, ${tokens.length} time-stamps, valid until ${expiresAt}`,
      );
    } catch (error) {
      if (error instanceof Unverifiable) {
        this.checks.leave("evidence_record", error.code ?? UNTRUSTED, `${authority}: ${error.message}`);
      } else {
        this.fail("evidence_record", "evidence_record_invalid", only(error, Broken, Malformed));
      }
    }
  }

  fail(name, code, error) {
    this.broken = code;
    this.checks.fail(name, code, error);
  }
}

/** What a token that could not be tested says itself. */
function ownTime(response) {
  try {
    return [parseResponse(response).genTime];
  } catch (error) {
    only(error, Broken, Malformed);
    return [];
  }
}

/** Without a trust file: those of the embedded certificates that nobody else issued. */
function ownRoots(certificates) {
  return certificates.map(readCertificate)
    .filter(({ issuer, subject }) => equalNames(issuer, subject))
    .map(({ der }) => der);
}

const ANY_HEX = /^([0-9a-f]{2})+$/;

/** The original's digests by name: those registered, and where the document in hand is that
 *  original, its own. Nothing where the SHA-256 is withheld. */
export function knownDigests(content, registered) {
  if (registered === null) return {};
  const sha512 = content.get("digests").get("sha-512");
  const known = { sha256: fromHex(registered.sha256) };
  if (typeof sha512 === "string" && ANY_HEX.test(sha512)) known.sha512 = fromHex(sha512);
  return known;
}
