// The file in hand against the one that a genuine certificate registers (notary/comparing.py). Where
// they differ, the code says the likely reason, if one was tested.

import { hex, sha256 } from "./bytes.js";

const EMPTY_SHA256 = hex(sha256(new Uint8Array()));

/** {sha256, size} of the registered original; null where it is withheld. */
export function registeredContent(sections) {
  const content = sections.get("content");
  if (!(content instanceof Map) || !(content.get("digests") instanceof Map)) return null;
  const [found, size] = [content.get("digests").get("sha-256"), content.get("size")];
  if (typeof found !== "string" || !/^[0-9a-f]{64}$/.test(found)) return null;
  return typeof size === "number" ? { sha256: found, size } : null;
}

/** The file name as it was given, where there was one and it is shown. */
function registeredName(sections) {
  const content = sections.get("content");
  const name = content instanceof Map ? content.get("name") : null;
  return typeof name === "string" ? name : null;
}

/** [verdict, code] as far as the file goes. `document` is {sha256 in hex, size, name, isCertificate,
 *  near}, or null. Writes into `checks`. */
export function compare(sections, document, checks) {
  const registered = registeredContent(sections);
  if (document === null) return notCompared(checks, "no_document", "no document was given");
  if (registered === null) return notCompared(checks, "proof_missing", "section content is withheld");
  if (document.sha256 !== registered.sha256) {
    return ["not_this_file", difference(sections, document, registered, checks)];
  }
  checks.pass("document_digest", `sha-256 ${document.sha256}`);
  compareSizes(document, registered, checks);
  // The digest would have to collide; the sizes tell that something is badly wrong.
  if (document.size !== registered.size) return ["not_this_file", "size_mismatch"];
  const stored = sections.get("content").get("stored") !== false;
  return ["confirmed", stored ? "match" : "match_digest_only_record"];
}

function notCompared(checks, code, why) {
  checks.leave("document_digest", code, why);
  return ["undecided", code];
}

function compareSizes(document, registered, checks) {
  if (document.size === registered.size) {
    checks.pass("document_size", `${registered.size} bytes`);
  } else {
    const detail = `registered ${registered.size} bytes, got ${document.size}`;
    checks.fail("document_size", "size_mismatch", new Error(detail));
  }
}

function difference(sections, document, registered, checks) {
  let code = "digest_mismatch";
  if (document.size === 0 && registered.sha256 !== EMPTY_SHA256) code = "empty_file";
  else if (document.isCertificate) code = "certificate_file_given";
  else if (document.near !== null) code = document.near;
  else if (document.size !== registered.size && sameName(document.name, registeredName(sections))) {
    code = "same_name_other_size";
  }
  const detail = `registered sha-256 ${registered.sha256}, got ${document.sha256}`;
  checks.fail("document_digest", code, new Error(detail));
  compareSizes(document, registered, checks);
  return code;
}

/** As people read them: systems write one name in several ways (Unicode's NFC and NFD). */
function sameName(ours, registered) {
  if (ours === null || registered === null) return false;
  return ours.normalize("NFC") === registered.normalize("NFC");
}
