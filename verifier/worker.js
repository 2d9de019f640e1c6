// What runs beside the page: reads, hashes, judges. It is told of files and answers with a report,
// as notary/handed.py does.

import { startsWith } from "./bytes.js";
import { registeredContent } from "./comparing.js";
import { isCertificate, readContainer } from "./container.js";
import { Malformed, Unreadable } from "./errors.js";
import { sha256Of, sm3Of } from "./hashing.js";
import { plain } from "./json.js";
import { nearMiss } from "./nearmiss.js";
import { parseTrust } from "./trust.js";
import { verify } from "./verify.js";
import { DESTRUCTION, verifyDestruction } from "./verify_destruction.js";

const REPORT_EVERY_MS = 100;
/** Codes of a difference for which a better reason may be found. */
const UNEXPLAINED = ["digest_mismatch", "same_name_other_size"];

function teller(total) {
  let last = 0;
  return (done) => {
    const now = performance.now();
    if (now - last < REPORT_EVERY_MS && done < total) return;
    last = now;
    postMessage({ kind: "progress", done, total });
  };
}

/** The report of the certificate, and of the document or the bundle's own original. A destruction
 *  certificate is judged by itself. */
async function judge({ document, certificate, trust, related }) {
  let believed = null;
  try {
    if (trust) believed = parseTrust(await trust.text());
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return { kind: "trust", detail: error.message };
  }
  const contents = await contentsOf(certificate);
  const data = contents?.certificate ?? new Uint8Array();
  if (startsWith(data, DESTRUCTION)) {
    if (document) return { kind: "disposal", detail: "" };
    return { kind: "report", report: verifyDestruction(data, believed), file: null };
  }
  const given = document ?? bundled(certificate, contents?.original ?? null);
  const judged = given === null ? null : await digested(given, document ? given.name : null);
  let report = verify(data, judged, believed);
  if (document && UNEXPLAINED.includes(report.code) && report.facts !== null) {
    const registered = registeredContent(report.facts.sections);
    judged.isCertificate = await isCertificate(document);
    judged.near = (await relation(report.facts, judged, believed, related ?? []))
      ?? (await nearMiss(document, registered, teller(registered.size)));
    report = verify(data, judged, believed);
  }
  if (report.facts !== null) report.facts.sections = plain(report.facts.sections);
  return { kind: "report", report, file: given };
}

/** Null where there is no certificate in it. */
async function contentsOf(file) {
  try {
    return await readContainer(file);
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return null;
  }
}

function bundled(bundle, original) {
  if (original === null) return null;
  const { name, offset, size } = original;
  return new File([bundle.slice(offset, offset + size)], name);
}

async function digested(file, name) {
  const sha256 = await sha256Of(file, teller(file.size));
  return { sha256, size: file.size, name, isCertificate: false, near: null };
}

/** The code of a file that another certificate registers; null where none of them does. */
async function relation(facts, judged, believed, related) {
  for (const certificate of related) {
    const contents = await contentsOf(certificate);
    const other = verify(contents?.certificate ?? null, judged, believed);
    if (other.verdict !== "confirmed") continue;
    const links = other.facts.sections.get("links");
    const said = (name) => (links instanceof Map ? links.get(name) : undefined);
    if (said("redaction_of") === facts.depositId) return "redacted_copy";
    return said("derivative_of") === facts.depositId ? "derivative_of" : "other_exhibit";
  }
  return null;
}

/** SM3 of the same file, after the report: no check rests on it, so nothing waits for it. */
async function alsoSm3({ file }) {
  return { kind: "sm3", sm3: await sm3Of(file, () => {}) };
}

globalThis.onmessage = async ({ data }) => {
  try {
    postMessage(await (data.task === "sm3" ? alsoSm3(data) : judge(data)));
  } catch (error) {
    // A file that went away or may not be read, memory that ran out: said, and no verdict.
    postMessage({ kind: "fault", detail: String(error?.message ?? error) });
  }
};
