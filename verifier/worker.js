// What runs beside the page: reads, hashes, judges. It is told of files and answers with a report.

import { Malformed, Unreadable } from "./errors.js";
import { isCertificate, readContainer } from "./container.js";
import { sha256Of, sm3Of } from "./hashing.js";
import { plain } from "./json.js";
import { parseTrust } from "./trust.js";
import { verify } from "./verify.js";

const REPORT_EVERY_MS = 100;

function teller(total) {
  let last = 0;
  return (done) => {
    const now = performance.now();
    if (now - last < REPORT_EVERY_MS && done < total) return;
    last = now;
    postMessage({ kind: "progress", done, total });
  };
}

/** The report of the certificate, and of the document or the bundle's own original. */
async function judge({ document, certificate, trust }) {
  let believed = null;
  try {
    if (trust) believed = parseTrust(await trust.text());
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return { kind: "trust", detail: error.message };
  }
  let contents = null;
  try {
    contents = await readContainer(certificate);
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
  }
  const original = contents?.original ?? null;
  let given = document ?? null;
  if (given === null && original !== null) {
    const { name, offset, size } = original;
    given = new File([certificate.slice(offset, offset + size)], name);
  }
  const judged = given === null ? null : await digest(given, Boolean(document));
  const report = verify(contents === null ? null : contents.certificate, judged, believed);
  if (report.facts !== null) report.facts.sections = plain(report.facts.sections);
  return { kind: "report", report, form: contents?.form ?? null, file: given };
}

async function digest(file, ownFile) {
  const sha256 = await sha256Of(file, teller(file.size));
  return { sha256, size: file.size, isCertificate: ownFile && (await isCertificate(file)) };
}

/** SM3 of the same file, in a worker of its own: no check rests on it, so nothing waits for it. */
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
